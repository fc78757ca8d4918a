import Kernels

/// Grouped-query attention with QK norm and partial rotary embedding over pages of keys and values
/// (spec: model.md, section 1).
struct Attention {
    let config: ModelConfig
    let compute: Compute
    let rotary: Rotary

    /// Scores are computed for this many queries at a time, which bounds their memory at long contexts.
    static let queryTile = 32

    private var queryWidth: Int { config.numAttentionHeads * config.headDim }
    private var keyValueWidth: Int { config.numKeyValueHeads * config.headDim }

    /// out = attention(x);  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, layer: Int, _ weights: AttentionWeights, _ batch: Batch, _ work: inout Workspace,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let width = queryWidth + 2 * keyValueWidth
        let queryKeyValue = try work.queryKeyValue.reserve(rows * width)  // [rows, width]
        let operand = try compute.operand(
            x, stride: config.hiddenSize, rows: rows, for: weights.queryKeyValue, &work.operand)
        compute.product(operand, weights.queryKeyValue, queryKeyValue, stride: width)
        place(queryKeyValue, stride: width, layer, weights, batch, work.angles)

        let mixed = try work.mixed.reserve(rows * queryWidth)  // [rows, heads, headDim]
        try attend(queryKeyValue, stride: width, layer, batch, &work, mixed)
        let heads = try compute.operand(mixed, stride: queryWidth, rows: rows, for: weights.dense, &work.operand)
        compute.product(heads, weights.dense, out, stride: config.hiddenSize)
    }

    /// Norms and turns queries (in place) and keys, and writes keys and values to their pages.
    private func place(
        _ queryKeyValue: UnsafeMutablePointer<Float>, stride: Int, _ layer: Int, _ weights: AttentionWeights,
        _ batch: Batch, _ angles: UnsafePointer<Float>
    ) {
        let dim = config.headDim
        let half = rotary.half
        let eps = Float(config.rmsNormEps)
        compute.team.forEach(batch.rows.count) { index, _ in
            let row = batch.rows[index]
            let page = batch.pages[row.sequence][row.position / batch.blockLength]
            let slot = row.position % batch.blockLength * dim
            let cosines = angles + index * 2 * half
            let base = queryKeyValue + index * stride
            for head in 0..<config.numAttentionHeads {
                let query = base + head * dim
                compute.kernels.rms_norm(query, weights.queryNorm.base, dim, eps, query)
                rotary.apply(query, cosines, cosines + half)
            }
            for head in 0..<config.numKeyValueHeads {
                let key = page.keys(layer: layer, head: head) + slot
                compute.kernels.rms_norm(base + queryWidth + head * dim, weights.keyNorm.base, dim, eps, key)
                rotary.apply(key, cosines, cosines + half)
                let value = base + queryWidth + keyValueWidth + head * dim
                (page.values(layer: layer, head: head) + slot).update(from: value, count: dim)
            }
        }
    }

    /// mixed = softmax(q k^T / sqrt(headDim)) v for each head of each run of rows.
    private func attend(
        _ queries: UnsafePointer<Float>, stride: Int, _ layer: Int, _ batch: Batch, _ work: inout Workspace,
        _ mixed: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let dim = config.headDim
        let group = config.numAttentionHeads / config.numKeyValueHeads
        let scale = 1 / Float(dim).squareRoot()
        let mostKeys = batch.rows.reduce(0) { max($0, $1.visibleEnd) }
        let tileSize = Self.queryTile * mostKeys
        let scores = try work.scores.reserve(compute.team.size * tileSize)  // [threads, queryTile, keys]
        let kernels = compute.kernels
        compute.team.forEach(batch.runs.count * config.numAttentionHeads) { task, worker in
            let run = batch.runs[task / config.numAttentionHeads]
            let head = task % config.numAttentionHeads
            let row = batch.rows[run.lowerBound]
            let keys = row.visibleEnd
            let pages = batch.pages[row.sequence]
            let tile = scores + worker * tileSize
            for start in Swift.stride(from: run.lowerBound, to: run.upperBound, by: Self.queryTile) {
                let count = min(Self.queryTile, run.upperBound - start)
                let query = queries + start * stride + head * dim
                let result = mixed + start * queryWidth + head * dim
                for first in Swift.stride(from: 0, to: keys, by: batch.blockLength) {
                    let keyPage = pages[first / batch.blockLength].keys(layer: layer, head: head / group)
                    kernels.matmul(
                        query, stride, count, keyPage, LLK_F32, dim, 0, min(batch.blockLength, keys - first), tile + first, keys)
                }
                for index in 0..<count { kernels.softmax(tile + index * keys, keys, scale) }
                for first in Swift.stride(from: 0, to: keys, by: batch.blockLength) {
                    let valuePage = pages[first / batch.blockLength].values(layer: layer, head: head / group)
                    kernels.weighted_sum(
                        tile + first, keys, count, valuePage, dim, min(batch.blockLength, keys - first), dim,
                        result, queryWidth, first > 0)
                }
            }
        }
    }
}
