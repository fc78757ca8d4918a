import Kernels

/// An opened checkpoint: weights, config and, if its folder has one, the tokenizer. A model is immutable, and any
/// number of threads and decoders may share it.
public final class Model: Sendable {
    /// What computes dense products with f32 weights.
    public enum BLAS: Sendable {
        /// The library's kernels; OpenBLAS if the library has no kernels for this CPU and OpenBLAS is installed.
        case auto
        /// The library's kernels.
        case off
        /// OpenBLAS; opening a model throws `.unsupported` if it cannot be used.
        case on
    }

    /// The options of opening a model.
    public struct Options: Sendable {
        /// The format in which matrices are held and multiplied: f32, bf16, int8 or int4. Nil: as stored, in place, or,
        /// in a saved model, as packed. Nothing is converted to q8_0 or q4_0.
        public var dtype: NumberFormat?
        /// The format in which keys and values are held and attention is computed: f32, bf16 or int8. Nil: bf16 if
        /// the matrices are packed, else f32.
        public var kvDType: NumberFormat?
        /// The number of threads; 0 for as many as the process may use.
        public var threads = 0
        /// The id of the mask. Nil: from `generation_config.json`, `config.json`, the tokenizer's `<|mask|>`, or 156895
        /// if the vocabulary has it. It must not be one of `eosTokenIDs`.
        public var maskTokenID: Int32?
        /// The ids that end a sequence. Empty: from `generation_config.json`, `config.json`, the tokenizer's
        /// `<|endoftext|>`, or 156892 if the vocabulary has it. The mask is left out of a file's list.
        public var eosTokenIDs: [Int32] = []
        /// The id by which a model of LLaDA2.2 says that a token is to go. Nil: from `generation_config.json` or
        /// `config.json`. There are both this id and the next one, or neither, and each is none of the others.
        public var deleteTokenID: Int32?
        /// The id by which a model of LLaDA2.2 says that a mask is to come before a token. Nil: likewise.
        public var splitTokenID: Int32?
        /// What computes dense products with f32 weights.
        public var blas = BLAS.auto
        /// The number of experts of a layer that the tokens of a block share: LLaDA2.2's block routing, for any model.
        /// 0: as the config says.
        public var expertCapacity = 0
        /// Whether files are mapped in which weights are used as stored. False reads these weights into memory; nil
        /// maps files of this machine, and reads those of network file systems. With true, the routed experts of a
        /// saved model stay in its file too, where they are read ahead as routers choose them: memory may be smaller
        /// than the model.
        public var useMmap: Bool?
        /// The most bytes of memory that the model may take, with its decoders and prefix caches: weights as held,
        /// tables, workspaces, keys and values. Weights that are used in place in a mapped file are not counted: they
        /// are the system's cache. 0: no limit. What would go beyond throws `.outOfMemory` before it takes memory.
        public var memoryLimit = 0
        /// The cluster that holds the routed experts; nil: this process holds all. On rank 0; the others serve. A
        /// cluster has one model at a time.
        public var cluster: Cluster?
        /// With a cluster, how many positions each expert has had, as a decoder counts it: [numHiddenLayers,
        /// numExperts]. Each rank then gets experts of which a step is expected to read equal parts, or parts in
        /// proportion to the cluster's shares. Empty: all experts are equally likely.
        public var expertUsage: [UInt64] = []

        public init() {}
    }

    public let config: ModelConfig
    /// The tokenizer; nil if the folder has none.
    public let tokenizer: Tokenizer?
    /// The chat template; nil if the folder has no tokenizer.
    public let chatTemplate: ChatTemplate?
    /// The ids of mask and end of sequence, and where each was found.
    package let specialTokens: SpecialTokens
    /// The id of the mask; nil if it is unknown, and then there are no decoders.
    public var maskTokenID: Int32? { specialTokens.mask?.id }
    /// The ids that end a sequence.
    public var eosTokenIDs: [Int32] { specialTokens.ends?.ids ?? [] }
    /// The id that stands for the deletion of a token; nil if the model has none.
    public var deleteTokenID: Int32? { specialTokens.editTokens?.delete }
    /// The id that stands for a mask before a token; nil if the model has none.
    public var splitTokenID: Int32? { specialTokens.editTokens?.split }
    /// The format of the layers' matrices; nil: as stored.
    public let dtype: NumberFormat?
    /// What opening the model left out or assumed, a sentence each.
    public let notes: [String]
    /// The number of parameters.
    public let numParameters: Int
    /// The bytes of the weights, as held.
    public let weightBytes: Int
    /// The bytes of memory that count towards `Options.memoryLimit`, at this moment.
    public var memoryUsed: Int { transformer.compute.budget.used }
    /// The tables of the tokenizer.
    private let tables: Reservation?
    package let transformer: Transformer
    /// The files that a saved model needs beside its weights; nil if the model is not packed and cannot be saved.
    let sideFiles: SideFiles?

    /// The format of keys and values: f32 or bf16.
    public var kvDType: NumberFormat { transformer.kvDType }
    /// The number of threads, the caller included.
    public var threads: Int { transformer.compute.team.size }

    /// The name of the kernels: "avx512", "avxvnni", "avx2", "i8mm", "neon" or "portable". They are the best that this
    /// CPU has, or those that `LLADA_KERNELS` in the environment names; "none: " and words if it names no such kernels.
    public static var kernelsName: String { KernelChoice.description }

    /// Opens the Hugging Face folder `path` of a `llada2_moe` checkpoint, or the GGUF file `path` of one (architecture
    /// `llada2`); of a model in several files, any of them. `progress` receives the part done, from 0 to 1. An error
    /// that it throws ends the call and is rethrown.
    ///
    /// Throws `.invalidArgument` for an option out of range; `.io`, `.json`, `.config`, `.safetensors`, `.gguf`,
    /// `.shardIndex`, `.tensor` or `.tokenizer` for a missing or faulty file; `.numeric` for a scale, vector or packed
    /// matrix that is not finite; `.unsupported` for a checkpoint or option that the library does not implement; and
    /// `.outOfMemory`.
    public convenience init(
        path: String, options: Options = Options(), progress: Progress? = nil
    ) throws(LLaDAError) {
        let limit = options.memoryLimit
        guard limit >= 0 else {
            throw LLaDAError(.invalidArgument, "memory_limit is \(limit); expected a number of bytes, or 0 for none")
        }
        let budget = MemoryBudget(limit: limit == 0 ? .max : limit)
        // Headers are a small part of the work.
        let source = try openCheckpoint(path, budget: budget) { (part) throws(LLaDAError) in
            try progress?(0.05 * part)
        }
        try self.init(source, options: options, budget: budget, progress: progress)
    }

    /// Makes a model of any source of tensors. What it takes counts towards `budget`.
    package init(
        _ source: any TensorSource, options: Options, budget: MemoryBudget = MemoryBudget(), progress: Progress? = nil
    ) throws(LLaDAError) {
        // Lists of the tensors, of layers and of experts.
        let room = try Reserve.Room(source.listSize)
        defer { room.close() }
        try options.validate()
        config = try source.config.withExpertCapacity(options.expertCapacity)
        let blas = try options.blas.library()
        let cluster = try ClusterOpening(source, options, hasBLAS: blas != nil)
        let opening = try WeightOpening(source, options, share: cluster?.share)
        try cluster?.begin(opening, source)
        let weights = try opening.read(source, budget) { (part) throws(LLaDAError) in
            try progress?(0.05 + 0.85 * part)
        }
        let answers = try cluster?.finish { () throws(LLaDAError) in try progress?(0.9) }
        let team = opening.team
        let compute = Compute(team: team, blas: blas, budget: budget)
        dtype = weights.dtype
        numParameters = weights.parameters
        weightBytes = weights.byteCount
        transformer = Transformer(
            config: config, weights: weights, compute: compute,
            kvDType: options.kvDType ?? (dtype?.packed == nil ? .f32 : .bf16),
            exchange: try answers?.exchange(config, prepared: compute.preparedDigest(weights), in: budget))
        answers?.completeFingerprint(of: transformer)

        let files = source.sideFiles
        tokenizer = try Tokenizer(files, modelVocabularySize: config.vocabSize, budget: budget)
        if let tokenizer { tables = try Reservation(tokenizer.byteCount, in: budget) } else { tables = nil }
        chatTemplate = try tokenizer.map { (tokenizer) throws(LLaDAError) in
            try ChatTemplate(files, tokenizer: tokenizer)
        }
        sideFiles = dtype?.packed == nil ? nil : files
        let ids = try SpecialTokens(config, tokenizer, options)
        specialTokens = ids
        notes = config.notes + source.notes + ids.notes + team.notes
        try Reserve.check()
        try progress?(1)
    }
}

extension Model.Options {
    var teamSize: Int { threads == 0 ? ThreadTeam.availableThreads : threads }

    private static let formats = "auto, f32, bf16, int8 or int4"

    private static let mostThreads = 1024

    func validate() throws(LLaDAError) {
        try KernelChoice.check()
        guard 0...Self.mostThreads ~= threads else {
            throw LLaDAError(.invalidArgument, "threads is \(threads); expected 0 to \(Self.mostThreads)")
        }
        switch dtype {
        case nil, .f32, .bf16, .int8, .int4, .q8_0, .q4_0: break
        case .f16, .f8E4M3: throw refusal("dtype", dtype, expected: Self.formats)
        }
        switch kvDType {
        case nil, .f32, .bf16, .int8: break
        case .f16, .f8E4M3, .int4, .q8_0, .q4_0:
            throw refusal("kv_dtype", kvDType, expected: "auto, f32, bf16 or int8")
        }
    }

    /// Returns the format of the matrices in a folder whose weights may be packed already.
    func dtype(of packed: PackedFile?, in folder: String) throws(LLaDAError) -> NumberFormat? {
        guard let packed else {
            // Nothing is converted to the formats of other files.
            if dtype == .q8_0 || dtype == .q4_0 { throw refusal("dtype", dtype, expected: Self.formats) }
            return dtype
        }
        guard dtype == nil || dtype == packed.dtype else {
            throw refusal(
                "dtype", dtype,
                expected: "auto or \(packed.dtype.name), as the weights of \(folder) are packed")
        }
        return packed.dtype
    }

    private func refusal(_ name: String, _ found: NumberFormat?, expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "\(name) is \(found?.name ?? "auto"); expected \(expected)")
    }
}

extension Model.BLAS {
    func library() throws(LLaDAError) -> OpenBLAS? {
        switch self {
        case .off: nil
        case .on: try OpenBLAS.shared.get()
        case .auto: KernelChoice.isa == LLK_PORTABLE ? try? OpenBLAS.shared.get() : nil
        }
    }
}
