import Kernels

/// The forward pass: rows in, keys and values to their pages, states out, of which logits are made on demand
/// (spec: model.md, section 1).
///
/// Immutable; any number of threads may run forwards, each with a workspace and pages of its own.
package struct Transformer: Sendable {
    package let config: ModelConfig
    package let weights: Weights
    package let compute: Compute
    /// Of all pages it is given.
    package let keyValues: KeyValueType
    private let rotary: Rotary

    package init(config: ModelConfig, weights: Weights, compute: Compute, keyValues: KeyValueType) {
        self.config = config
        self.weights = weights
        self.compute = compute
        self.keyValues = keyValues
        rotary = Rotary(config)
    }

    /// Runs `batch` and returns what `logits` wants to know of the rows that want logits, in their order; valid until the
    /// workspace's next forward. Checks for cancellation at every layer; then pages hold part of what they should.
    package func forward(
        _ batch: Batch, _ work: inout Workspace,
        cancellation: Cancellation? = nil, observer: Observer? = nil
    ) throws(LLaDAError) -> FinalStates {
        var batch = batch
        var rows = batch.rows.count
        let hidden = config.hiddenSize
        let x = try work.residual.reserve(rows * hidden)
        let normed = try work.normed.reserve(rows * hidden)
        let delta = try work.delta.reserve(rows * hidden)
        try work.prepareAngles(batch.rows, rotary)
        embed(batch.rows, x)

        let attention = Attention(config: config, compute: compute, rotary: rotary, keyValues: keyValues)
        for (index, layer) in weights.layers.enumerated() {
            try cancellation?.check()
            add(index > 0 ? delta : nil, rows, to: x, norm: layer.inputNorm, normed)
            try attention.project(normed, layer: index, layer.attention, batch, &work)
            if index == weights.layers.count - 1 {
                batch = try dropUnwanted(batch, x, attention, &work)
                rows = batch.rows.count
                if rows == 0 { break }
            }
            try attention.mix(layer: index, layer.attention, batch, &work, out: delta)
            add(delta, rows, to: x, norm: layer.postAttentionNorm, normed)
            observer?.finished?(.attention)
            switch layer.feedForward {
            case .dense(let weights):
                try FeedForward(compute: compute)(normed, rows: rows, weights, &work, out: delta)
                observer?.finished?(.dense)
            case .mixture(let weights):
                try Experts(config: config, compute: compute)(
                    normed, layer: index, weights, batch, &work, out: delta, observer: observer)
            }
        }
        return try finalStates(x, delta, batch.rows, &work)
    }

    /// After the last keys and values nothing is wanted of most rows of a prefill: they go.  x: [rows, hidden]
    private func dropUnwanted(
        _ batch: Batch, _ x: UnsafeMutablePointer<Float>, _ attention: Attention, _ work: inout Workspace
    ) throws(LLaDAError) -> Batch {
        if config.expertCapacity > 0 { return batch }  // rows of a block choose their experts together
        let wanted = batch.rows.indices.filter { batch.rows[$0].wantsLogits }
        if wanted.count == batch.rows.count { return batch }
        try attention.keep(wanted, &work)
        for (place, row) in wanted.enumerated() where place != row {
            (x + place * config.hiddenSize).update(from: x + row * config.hiddenSize, count: config.hiddenSize)
        }
        return Batch(rows: wanted.map { batch.rows[$0] }, pages: batch.pages, blockLength: batch.blockLength)
    }

    /// out = logits of `states` for a stretch of the vocabulary;  out: [states.count, stride >= vocabulary.count]
    package func logits(
        _ states: FinalStates, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        compute.tile(states.operand, weights.head, vocabulary, out - vocabulary.lowerBound, stride: stride)
    }

    /// x[r] = embedding[token of r]
    private func embed(_ rows: [Row], _ x: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            weights.embedding.read(Int(row.token), compute.kernels, into: x + index * config.hiddenSize)
        }
    }

    private func finalStates(
        _ x: UnsafeMutablePointer<Float>, _ delta: UnsafePointer<Float>, _ rows: [Row], _ work: inout Workspace
    ) throws(LLaDAError) -> FinalStates {
        let hidden = config.hiddenSize
        let wanted = rows.indices.filter { rows[$0].wantsLogits }
        let normed = try work.wanted.reserve(wanted.count * hidden)  // [wanted, hidden]
        for (index, row) in wanted.enumerated() {
            compute.kernels.axpy(1, delta + row * hidden, hidden, x + row * hidden)
            compute.kernels.rms_norm(
                x + row * hidden, weights.norm.base, hidden, Float(config.rmsNormEps), normed + index * hidden)
        }
        let operand = try compute.operand(
            normed, stride: hidden, rows: wanted.count, for: weights.head, &work.wantedOperand)
        return FinalStates(operand: operand, count: wanted.count)
    }

    /// x += delta; y = norm of x.  x, delta, y: [rows, hidden]
    private func add(
        _ delta: UnsafePointer<Float>?, _ rows: Int, to x: UnsafeMutablePointer<Float>, norm weight: Vector,
        _ y: UnsafeMutablePointer<Float>
    ) {
        let hidden = config.hiddenSize
        compute.team.forEach(rows) { row, _ in
            let x = x + row * hidden
            if let delta { compute.kernels.axpy(1, delta + row * hidden, hidden, x) }
            compute.kernels.rms_norm(x, weight.base, hidden, Float(config.rmsNormEps), y + row * hidden)
        }
    }
}

/// The last layer's output, normed, for the rows that want logits.
package struct FinalStates: @unchecked Sendable {  // read only
    let operand: Operand  // [count, hidden]
    package let count: Int
}
