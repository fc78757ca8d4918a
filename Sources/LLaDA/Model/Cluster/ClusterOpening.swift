import Synchronization

/// The opening of a model over a cluster, on rank 0.
struct ClusterOpening {
    private let placement: ExpertPlacement
    private let head: HeadPlacement
    private let claim: Claim
    private let options: Model.Options
    private let hasBLAS: Bool
    private let number: Int

    /// The claim to the cluster, which is given back unless an exchange has taken it over.
    fileprivate final class Claim {
        let cluster: Cluster
        var isKept = false
        init(_ cluster: Cluster) throws(LLaDAError) {
            try cluster.claim()
            self.cluster = cluster
        }
        deinit { if !isKept { cluster.release() } }
    }

    private static let numbers = Atomic<Int>(0)

    /// Nil without a cluster, or with one of a single rank.
    init?(_ source: any TensorSource, _ options: Model.Options, hasBLAS: Bool) throws(LLaDAError) {
        guard let cluster = options.cluster else { return nil }
        claim = try Claim(cluster)
        placement = try ExpertPlacement(
            source.config, size: cluster.size, shares: cluster.shares, usage: options.expertUsage)
        // A part of a head in float8 would want a part of its scales.
        head = HeadPlacement(
            vocabSize: source.config.vocabSize, size: cluster.size, shares: cluster.shares,
            isShared: source.config.blockFP8 == nil)
        self.options = options
        self.hasBLAS = hasBLAS
        number = Self.numbers.add(1, ordering: .relaxed).newValue
        if cluster.size == 1 { return nil }
    }

    /// What rank 0 holds.
    var share: WeightShare { placement.share(of: 0, head) }

    /// Has the other ranks open the model.
    func begin(_ opening: WeightOpening, _ source: any TensorSource) throws(LLaDAError) {
        let digest = try ClusterDigest(opening.measured, source.config)
        for rank in 1..<placement.size {
            let order = OpenOrder(
                number: number, size: placement.size, dtype: options.dtype, hasBLAS: hasBLAS, common: digest.common,
                parts: try digest.parts(of: rank, placement, head), starts: placement.starts,
                headStarts: head.starts, path: source.directory)
            let bytes = order.bytes
            try claim.cluster.withTurn { (traffic) throws(LLaDAError) in
                try traffic.checkOthers()
                try bytes.withUnsafeBufferPointer { (bytes) throws(LLaDAError) in
                    try traffic.send(UnsafeRawBufferPointer(bytes), to: rank, Subject.order)
                    try traffic.finishAll()
                }
            }
        }
    }

    /// Waits for the other ranks. `check` is called now and then, and may end the waiting.
    func finish(_ check: () throws(LLaDAError) -> Void) throws(LLaDAError) -> Answers {
        var bodies: [Buffer<UInt8>] = []
        for rank in 1..<placement.size { bodies.append(try answer(of: rank, check)) }
        return Answers(claim: claim, placement: placement, head: head, bodies: bodies)
    }

    private func answer(of rank: Int, _ check: () throws(LLaDAError) -> Void) throws(LLaDAError) -> Buffer<UInt8> {
        let cluster = claim.cluster
        var patience = Patience()
        while true {
            let waited = patience.waited
            let found = try cluster.withTurn { (traffic) throws(LLaDAError) -> Buffer<UInt8>? in
                try traffic.checkOthers()
                if let arrival = try traffic.arrival(from: rank, Subject.answer) { return try traffic.words(arrival) }
                if waited > cluster.timeout {
                    throw LLaDAError(
                        .cluster, "\(traffic.name(rank)) has not answered for \(cluster.timeout / 1_000_000) ms")
                }
                return nil
            }
            guard let found else {
                patience.pause()
                if patience.isLong { try check() }
                continue
            }
            let bytes = UnsafeRawBufferPointer(start: found.pointer, count: found.count)
            // Answers to an earlier order are of no interest.
            guard let answer = OpenAnswer(bytes), answer.number == number else { continue }
            switch answer.state {
            case .done: return found
            case .reading: patience = Patience()
            case .failed:
                let name = try cluster.withTurn { (traffic) throws(LLaDAError) in traffic.name(rank) }
                throw LLaDAError(
                    .cluster, "\(name): \(String(decoding: bytes[OpenAnswer.headBytes...], as: UTF8.self))")
            }
        }
    }

    /// What the other ranks have answered.
    struct Answers {
        fileprivate let claim: Claim
        fileprivate let placement: ExpertPlacement
        fileprivate let head: HeadPlacement
        fileprivate let bodies: [Buffer<UInt8>]  // by rank, from 1 on

        /// Makes the exchange of the model. `prepared` is this machine's digest.
        func exchange(
            _ config: ModelConfig, prepared: UInt64, in budget: MemoryBudget
        ) throws(LLaDAError) -> ExpertExchange {
            let same = bodies.map {
                OpenAnswer(UnsafeRawBufferPointer(start: $0.pointer, count: $0.count))?.prepared == prepared
            }
            let exchange = try ExpertExchange(
                claim.cluster, placement, head, takesPrepared: [true] + same, config, in: budget)
            claim.isKept = true
            return exchange
        }

        /// Computes the fingerprint, with the bytes of other ranks.
        func completeFingerprint(of transformer: Transformer) {
            let empty = UnsafeRawBufferPointer(start: nil, count: 0)
            let head = OpenAnswer.headBytes
            let bytes = bodies.map { UnsafeRawBufferPointer(start: $0.pointer + head, count: $0.count - head) }
            transformer.takeFingerprint(absent: AbsentStretches(placement, [empty] + bytes))
            withExtendedLifetime(bodies) {}
        }
    }
}
