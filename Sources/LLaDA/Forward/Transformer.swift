import Kernels

/// The forward pass: it takes rows, writes keys and values to their pages, and returns states, from which logits are
/// computed on demand (spec: model.md, section 1).
///
/// A transformer is immutable. Any number of threads may run forwards, each over pages of its own.
package final class Transformer: Denoiser {
    package let config: ModelConfig
    package let weights: Weights
    package let compute: Compute
    package let kvDType: NumberFormat
    package let exchange: ExpertExchange?
    let rotary: Rotary
    private let knownFingerprint = Once<ModelFingerprint>()
    private let knownCost = Once<ForwardCost>()

    /// `exchange` is there if some experts are on other ranks of a cluster.
    package init(
        config: ModelConfig, weights: Weights, compute: Compute, kvDType: NumberFormat, exchange: ExpertExchange? = nil
    ) {
        self.exchange = exchange
        self.config = config
        self.weights = weights
        self.compute = compute
        self.kvDType = kvDType
        rotary = Rotary(config)
    }

    /// The fingerprint, computed at the first use.
    package var fingerprint: ModelFingerprint { knownFingerprint.get { ModelFingerprint(self) } }

    /// What forwards take, measured at the first use.
    package var cost: ForwardCost { knownCost.get { measureCost() } }

    /// Computes the fingerprint of a model of which other ranks hold a part; see `ModelFingerprint.init`.
    package func takeFingerprint(absent: AbsentStretches) {
        _ = knownFingerprint.get { ModelFingerprint(self, absent: absent) }
    }

    package func forward(
        _ work: Workspace, observer: Observer?, into memory: StateMemory
    ) throws(LLaDAError) -> FinalStates {
        try weights.checkFiles()
        var batch = work.batch
        var rows = batch.rows.count
        try work.begin(batch)
        let hidden = config.hiddenSize
        let x = try work.residual.reserve(work.mostRows * hidden)
        let normed = try work.normed.reserve(work.mostRows * hidden)
        let delta = try work.delta.reserve(work.mostRows * hidden)
        try work.prepareAngles(batch.rows, rotary)
        embed(batch.rows, x)

        let attention = Attention(config: config, compute: compute, rotary: rotary, kvDType: kvDType)
        for (index, layer) in weights.layers.enumerated() {
            work.layer = (index, weights.layers.count)
            try work.checkStop()
            add(index > 0 ? delta : nil, rows, to: x, norm: layer.inputNorm, normed)
            try checkFinite(x, normed, batch.rows, after: index > 0 ? .feedForward(index - 1) : .embedding)
            try attention.project(normed, layer: index, layer.attention, batch, work)
            try work.checkStop(0.1)
            if index == weights.layers.count - 1 {
                batch = try dropUnwanted(x, attention, work)
                rows = batch.rows.count
                if rows == 0 { break }
            }
            try attention.mix(layer: index, layer.attention, batch, work, out: delta)
            add(delta, rows, to: x, norm: layer.postAttentionNorm, normed)
            try checkFinite(x, normed, batch.rows, after: .attention(index))
            observer?.finished?(.attention)
            try work.checkStop(0.4)
            switch layer.feedForward {
            case .dense(let weights):
                try DenseFeedForward(compute: compute)(
                    normed, rows: rows, weights, work, share: 0.4...1, out: delta)
                observer?.finished?(.dense)
            case .mixture(let weights):
                try Experts(config: config, compute: compute, exchange: exchange)(
                    normed, layer: index, weights, batch, work, out: delta, observer: observer)
            }
            observer?.output?(index, batch.rows, x, delta)
        }
        return try finalStates(x, delta, batch.rows, work, into: memory)
    }

    /// Drops the rows that want no logits, once the last keys and values are written: in a prefill, most rows.
    /// x: [rows, hidden]
    private func dropUnwanted(
        _ x: UnsafeMutablePointer<Float>, _ attention: Attention, _ work: Workspace
    ) throws(LLaDAError) -> Batch {
        if config.expertCapacity > 0 { return work.batch }  // the rows of a block choose their experts together
        work.want(work.batch.rows)
        if work.wanted.count == work.batch.rows.count { return work.batch }
        try attention.keep(work.wanted, work)
        for (place, row) in work.wanted.enumerated() where place != row {
            (x + place * config.hiddenSize).update(from: x + row * config.hiddenSize, count: config.hiddenSize)
        }
        try work.wantedBatch.become(work.batch, keeping: work.wanted)
        return work.wantedBatch
    }

    package func finalStates(_ values: Buffer<Float>, rows: Int) throws(LLaDAError) -> FinalStates {
        try FinalStates(values, rows: rows, head: weights.head, compute, exchange: exchange)
    }

    /// Looks up x[r] = embedding[token of r].  x: [rows, hidden]
    private func embed(_ rows: [Row], _ x: UnsafeMutablePointer<Float>) {
        for (index, row) in rows.enumerated() {
            weights.embedding.read(Int(row.token), compute.kernels, into: x + index * config.hiddenSize)
        }
    }

    private func finalStates(
        _ x: UnsafeMutablePointer<Float>, _ delta: UnsafePointer<Float>, _ rows: [Row], _ work: Workspace,
        into memory: StateMemory
    ) throws(LLaDAError) -> FinalStates {
        let hidden = config.hiddenSize
        work.want(rows)
        let wanted = work.wanted
        let room = max(work.batch.mostWanted, wanted.count)
        let normed = try memory.reserve(rows: room, hidden: hidden)  // [wanted, hidden]
        compute.team.forEach(wanted.count) { index, _ in
            let row = x + wanted[index] * hidden
            compute.kernels.axpy(1, delta + wanted[index] * hidden, hidden, row)
            compute.kernels.rms_norm(row, weights.norm.base, hidden, Float(config.rmsNormEps), normed + index * hidden)
        }
        try checkFinite(x, normed, rows, at: wanted, after: .feedForward(weights.layers.count - 1))
        return try FinalStates(in: memory, rows: wanted.count, room: room, head: weights.head, compute, exchange)
    }

    /// A part of the model that writes to the residual.
    private enum Writer {
        case embedding
        case attention(Int)
        case feedForward(Int)
    }

    /// Throws `.numeric` if what `writer` added to the residual is not finite. The norm shows it in its first
    /// number: of a row with NaN all are NaN, and of one with an infinity all are 0 but the infinity. `places` are the
    /// rows that `normed` has, if it does not have all.  x: [rows, hidden]; normed: [rows or places, hidden]
    private func checkFinite(
        _ x: UnsafePointer<Float>, _ normed: UnsafePointer<Float>, _ rows: [Row], at places: [Int]? = nil,
        after writer: Writer
    ) throws(LLaDAError) {
        let hidden = config.hiddenSize
        for index in 0..<(places?.count ?? rows.count) {
            let first = normed[index * hidden]
            if first != 0, !first.isNaN { continue }
            let place = places?[index] ?? index
            let row = rows[place]
            guard let bad = (place * hidden..<(place + 1) * hidden).first(where: { !x[$0].isFinite }) else { continue }
            let what =
                switch writer {
                case .embedding: "the embedding of token \(row.token)"
                case .attention(let layer): "layer \(layer): the output of attention"
                case .feedForward(let layer): "layer \(layer): the output of the feed-forward"
                }
            throw LLaDAError(
                .numeric,
                "\(what) at position \(row.position) has \(x[bad]); expected finite numbers: are the weights sound?")
        }
    }

    /// Computes x += delta, and y, the norm of x.  x, delta, y: [rows, hidden]
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
