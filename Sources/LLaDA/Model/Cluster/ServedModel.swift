/// What another rank than 0 holds of a model.
struct ServedModel {
    let service: ExpertService
    /// Nil if it has no part of the head.
    let head: HeadService?
    /// See `Compute.preparedDigest`.
    let prepared: UInt64
    /// The bytes of its experts that the fingerprint reads, in order.
    private(set) var stretches: [UInt8] = []

    /// Opens the model of an order. `progress` receives the part done.
    init(
        _ order: OpenOrder, rank: Int, _ given: Model.Options, _ opener: Cluster.Opener, progress: @escaping Progress
    ) throws(LLaDAError) {
        var options = given
        options.dtype = order.dtype
        options.blas = order.hasBLAS ? .on : .off
        try options.validate()
        let budget = MemoryBudget(limit: options.memoryLimit == 0 ? .max : options.memoryLimit)
        let source = try opener(order.path, budget, progress)
        let path = source.directory
        let room = try Reserve.Room(source.listSize)
        defer { room.close() }
        guard let placement = ExpertPlacement(checking: order.starts, size: order.size, source.config) else {
            let found = source.config
            throw LLaDAError(
                .tensor,
                "\(path) has \(found.numHiddenLayers) layers of \(found.numExperts) experts; rank 0 has others")
        }
        guard let head = HeadPlacement(checking: order.headStarts, vocabSize: source.config.vocabSize) else {
            throw LLaDAError(
                .tensor, "\(path) has a vocabulary of \(source.config.vocabSize); rank 0 has another one")
        }
        let opening = try WeightOpening(source, options, share: placement.share(of: rank, head))
        let digest = try ClusterDigest(opening.measured, source.config)
        guard digest.common == order.common, try digest.parts(of: rank, placement, head) == order.parts else {
            throw LLaDAError(.tensor, "\(path) is another model than that of rank 0, or in another file format")
        }
        let weights = try opening.read(source, budget, progress: progress)
        let compute = Compute(team: opening.team, blas: try options.blas.library(), budget: budget)
        prepared = try compute.preparedDigest(weights)
        service = try ExpertService(source.config, weights, compute, placement, rank: rank)
        self.head = weights.headSlice.map { HeadService($0, head, rank: rank, compute) }
        var parts = FingerprintStretches(weights.tensors)
        while let part = parts.next() {
            if !part.isHeld { continue }
            try stretches.makeRoom(for: part.bytes.count)
            stretches += part.bytes
        }
    }
}
