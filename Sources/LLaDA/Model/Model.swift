import Kernels

/// An opened checkpoint: weights, config and, where its folder has one, the tokenizer. Immutable: any number of
/// threads and decoders may share it.
public final class Model: Sendable {
    /// Who computes dense products with f32 weights.
    public enum BLAS: Sendable {
        /// Our kernels; OpenBLAS where this CPU has none and OpenBLAS is installed.
        case auto
        case off
        case on
    }

    public struct Options: Sendable {
        /// How matrices are held, and multiplied: f32, bf16, int8 or int4. Nil: as stored, in place; in a saved model,
        /// as packed.
        public var dtype: NumberFormat?
        /// How keys and values are held, and attention computed: f32 or bf16. Nil: bf16 where the matrices are packed.
        public var kvDType: NumberFormat?
        /// 0: as many as the process may use.
        public var threads = 0
        /// Nil: from `generation_config.json`, `config.json`, the tokenizer's `<|mask|>`, or 156895 if the vocabulary
        /// has it.
        public var maskTokenID: Int32?
        /// Any of them ends a sequence. Empty: from `generation_config.json`, `config.json`, the tokenizer's
        /// `<|endoftext|>`, or 156892 if the vocabulary has it.
        public var eosTokenIDs: [Int32] = []
        public var blas = BLAS.auto
        /// LLaDA2.2's block routing for any model: the tokens of a block share so many experts of a layer. 0: as the
        /// config says.
        public var expertCapacity = 0
        /// False reads weights into memory instead of mapping their file.
        public var useMmap = true

        public init() {}
    }

    public let config: ModelConfig
    public let tokenizer: Tokenizer?
    public let chatTemplate: ChatTemplate?
    /// Nil: unknown; then no decoder can be made.
    public let maskTokenID: Int32?
    public let eosTokenIDs: [Int32]
    /// How the layers' matrices are held; nil: as stored.
    public let dtype: NumberFormat?
    public let numParameters: Int
    /// As held.
    public let weightBytes: Int
    package let transformer: Transformer
    /// The files a saved model needs beside its weights; nil if it is not packed and cannot be saved.
    let sideFiles: SideFiles?

    /// How keys and values are held: f32 or bf16.
    public var kvDType: NumberFormat { transformer.kvDType }
    public var threads: Int { transformer.compute.team.size }

    /// The kernels this CPU gets: "avx512", "avx2", "neon" or "portable".
    public static var kernelsName: String { String(cString: llk_isa_name(llk_best_isa())) }

    private static let mostThreads = 1024

    /// Opens the Hugging Face folder `path` of a `llada2_moe` checkpoint. `progress` is told the part done, 0 to 1;
    /// what it throws ends the work, and is thrown.
    public convenience init(
        path: String, options: Options = Options(), progress: Progress? = nil
    ) throws(LLaDAError) {
        // Reading takes the first half of the time, laying out the second; with mapped files used in place both are
        // quick.
        let checkpoint = try Checkpoint.open(path, mapped: options.useMmap) { (part) throws(LLaDAError) in
            try progress?(0.5 * part)
        }
        try self.init(checkpoint, options: options, progress: progress)
    }

    /// The same of any source of tensors.
    package init(_ source: any TensorSource, options: Options, progress: Progress? = nil) throws(LLaDAError) {
        guard 0...Self.mostThreads ~= options.threads else {
            throw LLaDAError(.invalidArgument, "threads is \(options.threads); expected 0 to \(Self.mostThreads)")
        }
        let path = source.directory
        try options.validateFormats()
        config = try source.config.withExpertCapacity(options.expertCapacity)
        let team = ThreadTeam(threads: options.threads == 0 ? ThreadTeam.availableThreads : options.threads)
        let file = Checkpoint.singleFileName.string
        let packed = try PackedFile(source.metadata, file: file)
        dtype = try options.dtype(of: packed, in: path)
        let weights = try Weights(source, dtype, isPacked: packed != nil, team: team) { (part) throws(LLaDAError) in
            try progress?(0.5 + 0.4 * part)
        }
        try packed?.check(weights, file: file)
        numParameters = weights.parameters
        weightBytes = weights.byteCount
        transformer = Transformer(
            config: config, weights: weights, compute: Compute(team: team, blas: try options.blas.library()),
            kvDType: options.kvDType ?? (dtype?.packed == nil ? .f32 : .bf16))

        let tokenizerPath = "\(path)/tokenizer.json"
        if MappedFile.exists(tokenizerPath) {
            let tokenizer = try Tokenizer(contentsOf: tokenizerPath, modelVocabularySize: config.vocabSize)
            self.tokenizer = tokenizer
            chatTemplate = try ChatTemplate(folder: path, tokenizer: tokenizer)
        } else {
            tokenizer = nil
            chatTemplate = nil
        }
        sideFiles = dtype?.packed == nil ? nil : try SideFiles(folder: path)
        let ids = SpecialTokens(config, tokenizer, options)
        maskTokenID = try ids.mask()
        eosTokenIDs = try ids.endOfSequence()
        try progress?(1)
    }
}

extension Model.Options {
    fileprivate func validateFormats() throws(LLaDAError) {
        switch dtype {
        case nil, .f32, .bf16, .int8, .int4: break
        case .f16, .f8E4M3: throw refusal("dtype", dtype, expected: "auto, f32, bf16, int8 or int4")
        }
        switch kvDType {
        case nil, .f32, .bf16: break
        case .f16, .f8E4M3, .int8, .int4: throw refusal("kv_dtype", kvDType, expected: "auto, f32 or bf16")
        }
    }

    /// How matrices will be held, in a folder whose weights may be packed already.
    fileprivate func dtype(of packed: PackedFile?, in folder: String) throws(LLaDAError) -> NumberFormat? {
        guard let packed else { return dtype }
        guard dtype == nil || dtype == packed.dtype else {
            throw refusal(
                "dtype", dtype,
                expected: "auto or \(packed.dtype.rawValue), as the weights of \(folder) are packed")
        }
        return packed.dtype
    }

    private func refusal(_ name: String, _ found: NumberFormat?, expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "\(name) is \(found?.rawValue ?? "auto"); expected \(expected)")
    }
}

extension Model.BLAS {
    fileprivate func library() throws(LLaDAError) -> OpenBLAS? {
        switch self {
        case .off: nil
        case .on: try OpenBLAS.shared.get()
        case .auto: llk_best_isa() == LLK_PORTABLE ? try? OpenBLAS.shared.get() : nil
        }
    }
}
