import Kernels

/// Grouped-query attention with QK norm and partial rotary embedding over pages of keys and values
/// (spec: model.md, section 1).
struct Attention {
    let config: ModelConfig
    let compute: Compute
    let rotary: Rotary
    /// The format of the keys and values in all pages.
    let kvDType: NumberFormat

    /// The number of queries, and the approximate number of keys, for which scores are computed at a time. The scores,
    /// and their keys and values, stay in the cache of a core however long the context is.
    static let queryTile = 32
    private static func keyTile(_ kvDType: NumberFormat) -> Int { kvDType == .int8 ? 256 : 512 }

    /// Returns the number of keys of a tile: whole blocks.
    static func keyTile(_ kvDType: NumberFormat, blockLength: Int) -> Int {
        max(1, keyTile(kvDType) / blockLength) * blockLength
    }

    /// Returns the floats of scratch that a thread needs for `queries` queries.
    static func scratch(_ kvDType: NumberFormat, keyTile: Int, pages: Int, headDim: Int, queries: Int) -> Int {
        switch kvDType {
        case .bf16: HalfSoftmaxSum.size(keyTile: keyTile, pages: pages, headDim: headDim, queries: queries)
        case .int8: ByteSoftmaxSum.size(keyTile: keyTile, pages: pages, headDim: headDim, queries: queries)
        default: SoftmaxSum.size(keyTile: keyTile, headDim: headDim, queries: queries)
        }
    }

    private var queryWidth: Int { config.numAttentionHeads * config.headDim }
    private var keyValueWidth: Int { config.numKeyValueHeads * config.headDim }
    private var width: Int { queryWidth + 2 * keyValueWidth }

    /// Computes the queries of x into `work.queryKeyValue`, and the keys and values of x into their pages.
    /// x: [rows, hidden]
    func project(
        _ x: UnsafePointer<Float>, layer: Int, _ weights: AttentionWeights, _ batch: Batch, _ work: Workspace
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let queryKeyValue = try work.queryKeyValue.reserve(work.mostRows * width)  // [rows, width]
        let operand = try compute.operand(x, stride: config.hiddenSize, rows: rows, for: weights.queryKeyValue, work)
        compute.product(operand, weights.queryKeyValue, queryKeyValue, stride: width)
        place(queryKeyValue, layer, weights, batch, work.angles)
    }

    /// Drops all projected rows but those of `indices`, which increase.
    func keep(_ indices: [Int], _ work: Workspace) throws(LLaDAError) {
        let queryKeyValue = try work.queryKeyValue.reserve(work.mostRows * width)
        for (place, row) in indices.enumerated() where place != row {
            (queryKeyValue + place * width).update(from: queryKeyValue + row * width, count: queryWidth)
        }
    }

    /// Computes out, the attention of the projected rows.  out: [rows, hidden]
    func mix(
        layer: Int, _ weights: AttentionWeights, _ batch: Batch, _ work: Workspace,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let queries = try work.queryKeyValue.reserve(work.mostRows * width)
        let mixed = try work.mixed.reserve(work.mostRows * queryWidth)  // [rows, heads, headDim]
        try attend(queries, layer, batch, work, mixed)
        let heads = try compute.operand(mixed, stride: queryWidth, rows: rows, for: weights.dense, work)
        compute.product(heads, weights.dense, out, stride: config.hiddenSize)
    }

    /// Normalizes and rotates queries (in place) and keys, and writes keys and values to their pages.
    private func place(
        _ queryKeyValue: UnsafeMutablePointer<Float>, _ layer: Int, _ weights: AttentionWeights,
        _ batch: Batch, _ angles: UnsafePointer<Float>
    ) {
        let dim = config.headDim
        let half = rotary.half
        let eps = Float(config.rmsNormEps)
        // By heads: two threads that write to neighbouring slots of a page would wait for each other's cache lines.
        let heads = config.numAttentionHeads + config.numKeyValueHeads
        compute.team.forEach(batch.runs.count * heads) { index, _ in
            let head = index % heads
            let kvHead = head - config.numAttentionHeads
            let norm = kvHead < 0 ? weights.queryNorm : weights.keyNorm
            for index in batch.runs[index / heads] {
                let cosines = angles + index * 2 * half
                let states = queryKeyValue + index * width + head * dim
                compute.kernels.rms_norm(states, norm.base, dim, eps, states)
                rotary.apply(states, cosines, cosines + half)
                if kvHead < 0 { continue }
                let row = batch.rows[index]
                let table = batch.tables[row.sequence]
                table[row.position / table.blockLength].write(
                    states, states + keyValueWidth, layer: layer, head: kvHead, slot: row.position % table.blockLength)
            }
        }
    }

    /// Computes mixed = softmax(q k^T / sqrt(headDim)) v for each head of each run of rows.
    ///
    /// The sums run over tiles of keys, whose softmaxes are joined tile by tile (Milakov and Gimelshein, Online
    /// normalizer calculation for softmax, 2018): see TileSum. Where tiles begin depends on positions alone, so results
    /// do not depend on what else is computed.
    private func attend(
        _ queries: UnsafePointer<Float>, _ layer: Int, _ batch: Batch, _ work: Workspace,
        _ mixed: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let group = config.numAttentionHeads / config.numKeyValueHeads
        // The heads that share keys go together, so that the keys are read once. With many threads, each head is a
        // task.
        let heads = batch.runs.count * config.numKeyValueHeads >= 2 * compute.team.size ? group : 1
        let tasks = config.numAttentionHeads / heads
        var (keyTile, pages) = (0, 0)
        for table in batch.tables {
            let tile = Self.keyTile(kvDType, blockLength: table.blockLength)
            (keyTile, pages) = (max(keyTile, tile), max(pages, tile / table.blockLength))
        }
        let mostQueries = group * batch.longestRun
        let size = Self.scratch(
            kvDType, keyTile: keyTile, pages: pages, headDim: config.headDim, queries: mostQueries)
        let scratch = try work.attention.reserve(compute.team.size * size)  // [threads, size]
        var keys = 0
        for row in batch.rows { keys += row.visibleEnd }
        let operations = 2 * keys * queryWidth
        try work.forEach(batch.runs.count * tasks, operations: operations, share: 0.1...0.3, compute.team) {
            task, worker in
            // Threads are at the same keys at about the same time, and share a cache.
            let run = batch.runs[task % batch.runs.count]
            let firstHead = task / batch.runs.count * heads
            let row = batch.rows[run.lowerBound]
            let table = batch.tables[row.sequence]
            let cached = CachedHead(
                headDim: config.headDim, layer: layer, kvHead: firstHead / group, table: table,
                keyTile: Self.keyTile(kvDType, blockLength: table.blockLength))
            let scratch = scratch + worker * size
            let headRange = firstHead..<firstHead + heads
            let count = heads * run.count
            func sum(_ sum: some TileSum) {
                add(to: sum, keysUpTo: row.visibleEnd, cached.keyTile, run, headRange, queries, mixed)
            }
            switch kvDType {
            case .bf16:
                sum(
                    HalfSoftmaxSum(
                        cached, compute.attention, visibleEnd: row.visibleEnd, queries: count, scratch: scratch))
            case .int8:
                sum(
                    ByteSoftmaxSum(
                        cached, compute.byteAttention, visibleEnd: row.visibleEnd, queries: count, scratch: scratch))
            default: sum(SoftmaxSum(cached, compute.kernels, scratch: scratch))
            }
        }
    }

    /// Adds all tiles of keys, for the rows of a run and the heads that share the keys.
    private func add<Sum: TileSum>(
        to sum: Sum, keysUpTo visibleEnd: Int, _ keyTile: Int, _ run: Range<Int>, _ heads: Range<Int>,
        _ queries: UnsafePointer<Float>, _ mixed: UnsafeMutablePointer<Float>
    ) {
        for first in stride(from: 0, to: visibleEnd, by: keyTile) {
            let keys = first..<min(first + keyTile, visibleEnd)
            sum.begin(keys)
            for head in heads {
                for start in stride(from: run.lowerBound, to: run.upperBound, by: Self.queryTile) {
                    sum.add(
                        keys, queries + start * width + head * config.headDim, stride: width,
                        rows: min(Self.queryTile, run.upperBound - start),
                        index: (head - heads.lowerBound) * run.count + start - run.lowerBound,
                        to: mixed + start * queryWidth + head * config.headDim, stride: queryWidth)
                }
            }
        }
    }
}
