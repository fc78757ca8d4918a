import Kernels

/// The forward pass: rows in, keys and values to their pages, states out, of which logits are made on demand
/// (spec: model.md, section 1).
///
/// Immutable; any number of threads may run forwards, each with a workspace and pages of its own.
package struct Transformer: Sendable {
    package let config: ModelConfig
    package let weights: Weights
    package let compute: Compute
    private let rotary: Rotary

    package init(config: ModelConfig, weights: Weights, compute: Compute) {
        self.config = config
        self.weights = weights
        self.compute = compute
        rotary = Rotary(config)
    }

    /// Runs `batch` and returns what `logits` wants to know of the rows that want logits, in their order; valid until the
    /// workspace's next forward. Checks for cancellation at every layer; then pages hold part of what they should.
    /// `observe` is told each mixture layer's routing.
    package func forward(
        _ batch: Batch, _ work: inout Workspace,
        cancellation: Cancellation? = nil, observe: ((Int, Routing) -> Void)? = nil
    ) throws(LLaDAError) -> FinalStates {
        let rows = batch.rows.count
        let hidden = config.hiddenSize
        let x = try work.residual.reserve(rows * hidden)
        let normed = try work.normed.reserve(rows * hidden)
        let delta = try work.delta.reserve(rows * hidden)
        try work.prepareAngles(batch.rows, rotary)
        embed(batch.rows, x)

        let attention = Attention(config: config, compute: compute, rotary: rotary)
        for (index, layer) in weights.layers.enumerated() {
            try cancellation?.check()
            norm(x, layer.inputNorm, rows, normed)
            try attention(normed, layer: index, layer.attention, batch, &work, out: delta)
            add(delta, rows, to: x)
            norm(x, layer.postAttentionNorm, rows, normed)
            switch layer.feedForward {
            case .dense(let weights):
                try FeedForward(compute: compute)(normed, rows: rows, weights, &work, out: delta)
            case .mixture(let weights):
                try Experts(config: config, compute: compute)(
                    normed, weights, batch, &work, out: delta, observe: observe.map { tell in { tell(index, $0) } })
            }
            add(delta, rows, to: x)
        }
        return try finalStates(x, batch.rows, &work)
    }

    /// out = logits of `states` for a stretch of the vocabulary;  out: [states.count, stride >= vocabulary.count]
    package func logits(
        _ states: FinalStates, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        compute.tile(
            states.base, stride: config.hiddenSize, rows: states.count, weights.head, vocabulary,
            out - vocabulary.lowerBound, stride: stride)
    }

    /// x[r] = embedding[token of r]
    private func embed(_ rows: [Row], _ x: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            compute.kernels.to_f32(
                weights.embedding.row(Int(row.token)), weights.embedding.type, config.hiddenSize,
                x + index * config.hiddenSize)
        }
    }

    private func finalStates(
        _ x: UnsafePointer<Float>, _ rows: [Row], _ work: inout Workspace
    ) throws(LLaDAError) -> FinalStates {
        let hidden = config.hiddenSize
        let wanted = rows.indices.filter { rows[$0].wantsLogits }
        let normed = try work.wanted.reserve(wanted.count * hidden)  // [wanted, hidden]
        for (index, row) in wanted.enumerated() {
            compute.kernels.rms_norm(
                x + row * hidden, weights.norm.base, hidden, Float(config.rmsNormEps), normed + index * hidden)
        }
        return FinalStates(base: UnsafePointer(normed), count: wanted.count)
    }

    private func norm(_ x: UnsafePointer<Float>, _ weight: Vector, _ rows: Int, _ y: UnsafeMutablePointer<Float>) {
        let hidden = config.hiddenSize
        for row in 0..<rows {
            compute.kernels.rms_norm(x + row * hidden, weight.base, hidden, Float(config.rmsNormEps), y + row * hidden)
        }
    }

    private func add(_ delta: UnsafePointer<Float>, _ rows: Int, to x: UnsafeMutablePointer<Float>) {
        compute.kernels.axpy(1, delta, rows * config.hiddenSize, x)
    }
}

/// The last layer's output, normed, for the rows that want logits.
package struct FinalStates: @unchecked Sendable {  // read only
    let base: UnsafePointer<Float>  // [count, hidden]
    package let count: Int
}
