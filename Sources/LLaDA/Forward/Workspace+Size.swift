import Kernels

extension Workspace {
    /// Returns the bytes that a workspace has after forwards of up to `rows` rows, of which `wanted` want logits, in
    /// blocks of `blockLength`, and those of the states that a sequence keeps of them. `weights` may be ones that were
    /// measured. The workspace takes its memory as it needs it, in the places that are named here.
    package static func byteCount(
        _ config: ModelConfig, _ weights: Weights, kvDType: NumberFormat, threads: Int, rows: Int, wanted: Int,
        blockLength: Int
    ) -> Int {
        let hidden = config.hiddenSize
        let queryWidth = config.numAttentionHeads * config.headDim
        let width = queryWidth + 2 * config.numKeyValueHeads * config.headDim
        var floats = 3 * rows * hidden + rows * config.rotaryDim / 2 * 2  // residual, normed, delta; angles
        floats += rows * (width + queryWidth)  // queryKeyValue, mixed
        let queries = config.numAttentionHeads / config.numKeyValueHeads * min(blockLength, Attention.queryTile)
        let keyTile = Attention.keyTile(kvDType, blockLength: blockLength)
        floats +=
            threads
            * Attention.scratch(
                kvDType, keyTile: keyTile, pages: keyTile / blockLength, headDim: config.headDim, queries: queries)
        var (inner, operand, expertOperand) = (0, 0, 0)  // the widest feed-forward; bytes of prepared rows
        func prepare(_ matrix: Matrix) {
            if case .packed(let format) = matrix.layout {
                operand = max(operand, llk_row_size(format, matrix.inputs))
            }
        }
        func stride(_ matrix: Matrix) -> Int {
            if case .packed(let format) = matrix.layout { return llk_row_size(format, matrix.inputs) }
            return MemoryLayout<Float>.size * matrix.inputs
        }
        func feedForward(_ weights: FeedForwardWeights) {
            inner = max(inner, weights.gate.outputs)
            prepare(weights.gate)
            prepare(weights.down)
        }
        var hasExperts = false
        var hasShared = false
        for layer in weights.layers {
            prepare(layer.attention.queryKeyValue)
            prepare(layer.attention.dense)
            switch layer.feedForward {
            case .dense(let weights): feedForward(weights)
            case .mixture(let mixture):
                hasExperts = true
                if let shared = mixture.shared {
                    hasShared = true
                    feedForward(shared)
                }
                prepare(mixture.router)
                prepare(mixture.experts[0].gate)
                expertOperand = max(expertOperand, stride(mixture.experts[0].gate) + stride(mixture.experts[0].down))
            }
        }
        floats += 2 * rows * inner  // gate, up
        if hasExperts {
            let k = config.numExpertsPerTok
            floats += rows * config.numExperts  // router
            floats += threads * Experts.piece * config.moeIntermediateSize * 2  // expertGate
            floats += rows * k * hidden  // expertResults
            floats += threads * (config.numExperts + config.nGroup + max(k, config.topkGroup))  // choices, ranks
            if hasShared { floats += rows * hidden }
        }
        var bytes = rows * operand + threads * Experts.piece * expertOperand
        if config.expertCapacity > 0 { bytes += rows * config.numExperts }  // pools
        let tile = min(512, config.vocabSize)  // see LogitSource.forEachTile
        floats += threads * min(wanted, 64) * tile
        bytes += (config.vocabSize + tile - 1) / tile * wanted * MemoryLayout<Peak>.stride
        floats += wanted * hidden  // the states, and as the head takes them
        if case .packed(let format) = weights.head.layout { bytes += wanted * llk_row_size(format, hidden) }
        return bytes + MemoryLayout<Float>.size * floats
    }
}
