/// The opening of weights: what headers tell first, then the weights themselves.
struct WeightOpening {
    let team: ThreadTeam
    /// The weights, of which nothing was read: only names, shapes, sizes and what is stored may be used.
    let measured: Weights
    private let format: NumberFormat?
    private let packed: PackedFile?
    private let mapping: Bool?
    private let share: WeightShare?

    private static var file: String { Checkpoint.singleFileName.string }

    /// `share` is what a rank of a cluster holds; nil for all.
    init(_ source: any TensorSource, _ options: Model.Options, share: WeightShare?) throws(LLaDAError) {
        team = ThreadTeam(threads: options.teamSize)
        packed = try PackedFile(source.metadata, file: Self.file)
        format = try options.dtype(of: packed, in: source.directory)
        mapping = options.useMmap
        self.share = share
        measured = try Weights(
            source, format, packed, team: team, mapping: mapping, share: share, measuring: true)
    }

    /// Reads the weights, whose memory counts towards `budget`.
    func read(
        _ source: any TensorSource, _ budget: MemoryBudget, progress: @escaping Progress
    ) throws(LLaDAError) -> Weights {
        // Headers and small files tell what opening takes, before weights are read.
        try budget.check(OpeningMemory(source, measured.sizes).peak - budget.used)
        let weights = try Weights(
            source, format, packed, team: team, mapping: mapping, share: share, sizes: measured.sizes, budget: budget,
            progress: progress)
        try packed?.check(weights, file: Self.file)
        return weights
    }
}
