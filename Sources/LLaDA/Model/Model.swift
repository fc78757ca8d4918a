import Kernels

/// An opened checkpoint: weights, config and, where its folder has one, the tokenizer. Immutable: any number of
/// threads and decoders may share it.
public final class Model: Sendable {
    /// How matrices are held, and multiplied.
    public enum DType: Sendable {
        /// As stored: F32, F16 or BF16, in place; in a saved model, packed.
        case auto
        case f32
        case bf16
        case int8
        /// The routed experts; what every token passes is int8.
        case int4
    }

    /// Who computes dense products with f32 weights.
    public enum BLAS: Sendable {
        /// Our kernels; OpenBLAS where this CPU has none and OpenBLAS is installed.
        case auto
        case off
        case on
    }

    public struct Options: Sendable {
        public var dtype = DType.auto
        /// How keys and values are held, and attention computed: f32 or bf16. Auto: bf16 where the matrices are packed.
        public var kvDType = DType.auto
        /// 0: as many as the process may use.
        public var threads = 0
        /// Nil: from `generation_config.json`, `config.json`, the tokenizer's `<|mask|>`, or 156895 if the vocabulary has it.
        public var maskTokenID: Int32?
        /// Any of them ends a sequence. Empty: from `generation_config.json`, `config.json`, the tokenizer's `<|endoftext|>`, or
        /// 156892 if the vocabulary has it.
        public var eosTokenIDs: [Int32] = []
        public var blas = BLAS.auto
        /// LLaDA2.2's block routing for any model: the tokens of a block share so many experts of a layer. 0: as the config
        /// says.
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
    public let numParameters: Int
    /// As held.
    public let weightBytes: Int
    package let transformer: Transformer
    /// How the layers' matrices are held.
    package let precision: Precision
    /// The same; `.auto`: as stored.
    public var dtype: DType { DType(precision) }
    /// How keys and values are held: `.f32` or `.bf16`.
    public var kvDType: DType { transformer.keyValues == .f32 ? .f32 : .bf16 }
    /// The files a saved model needs beside its weights; nil if it is not packed and cannot be saved.
    let sideFiles: SideFiles?

    /// The kernels this CPU gets: "avx512", "avx2", "neon" or "portable".
    public static var kernelsName: String { String(cString: llk_isa_name(llk_best_isa())) }

    public var threads: Int { transformer.compute.team.size }

    private static let mostThreads = 1024

    /// Opens the Hugging Face folder `path` of a `llada2_moe` checkpoint. `progress` is told the part done, 0 to 1;
    /// returning false ends the work with `.stopped`.
    public convenience init(
        path: String, options: Options = Options(), progress: ((Double) -> Bool)? = nil
    ) throws(LLaDAError) {
        let progress = Progress(path: path, tell: progress)
        let checkpoint = try Checkpoint.open(path, mapped: options.useMmap, progress: progress.part(0, 0.5))
        try self.init(checkpoint, options: options, progress: progress)
    }

    /// Reading takes the first half of the time, laying out the second; with mapped files used in place both are quick.
    package struct Progress {
        let path: String
        let tell: ((Double) -> Bool)?

        package init(path: String, tell: ((Double) -> Bool)?) {
            self.path = path
            self.tell = tell
        }

        func part(_ first: Double, _ share: Double) -> (Double) throws(LLaDAError) -> Void {
            { (part) throws(LLaDAError) in
                if let tell, !tell(first + share * part) {
                    throw LLaDAError(.stopped, "loading \(path) was stopped by the progress callback")
                }
            }
        }
    }

    package init(_ source: any TensorSource, options: Options, progress: Progress) throws(LLaDAError) {
        guard 0...Self.mostThreads ~= options.threads else {
            throw LLaDAError(.invalidArgument, "threads is \(options.threads); expected 0 to \(Self.mostThreads)")
        }
        let path = source.directory
        try options.kvDType.checkForKeysAndValues()
        config = try source.config.withExpertCapacity(options.expertCapacity)
        let team = ThreadTeam(threads: options.threads == 0 ? ThreadTeam.availableThreads : options.threads)
        let file = Checkpoint.singleFileName.string
        let packed = try PackedFile(source.metadata, file: file)
        precision = try options.dtype.precision(of: packed, in: path)
        let weights = try Weights(
            source, precision, isPacked: packed != nil, team: team, progress: progress.part(0.5, 0.4))
        try packed?.check(weights, file: file)
        numParameters = weights.parameters
        weightBytes = weights.byteCount
        let compute = Compute(team: team, blas: try options.blas.library())
        transformer = Transformer(
            config: config, weights: weights, compute: compute, keyValues: options.kvDType.keyValues(besides: precision)
        )

        let tokenizerPath = "\(path)/tokenizer.json"
        if MappedFile.exists(tokenizerPath) {
            let tokenizer = try Tokenizer(contentsOf: tokenizerPath, modelVocabularySize: config.vocabSize)
            self.tokenizer = tokenizer
            chatTemplate = try ChatTemplate(folder: path, tokenizer: tokenizer)
        } else {
            tokenizer = nil
            chatTemplate = nil
        }
        if case .packed = precision { sideFiles = try SideFiles(folder: path) } else { sideFiles = nil }
        let ids = SpecialTokens(config, tokenizer, options)
        maskTokenID = try ids.mask()
        eosTokenIDs = try ids.endOfSequence()
        try progress.part(1, 0)(1)
    }

    /// The logits of a whole sequence under the strict block-causal mask: the one at position i is about the token AT
    /// position i.  out: [tokens.count, vocabSize]
    public func logits(
        _ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, into out: UnsafeMutableBufferPointer<Float>
    ) throws(LLaDAError) {
        try config.check(blockLength: blockLength, canvas: tokens.count)
        try config.check(tokens)
        let (needed, overflow) = tokens.count.multipliedReportingOverflow(by: config.vocabSize)
        guard !overflow, out.count >= needed else {
            throw LLaDAError(
                .bufferTooSmall,
                "room for \(out.count) logits; expected \(tokens.count) tokens times \(config.vocabSize)")
        }
        guard let base = out.baseAddress, tokens.count > 0 else { return }
        let sequence = CachedSequence(transformer, blockLength: blockLength)
        let piece = CachedSequence.mostRows(blockLength: blockLength)
        for start in stride(from: 0, to: tokens.count, by: piece) {
            let active = start..<min(start + piece, tokens.count)
            _ = try sequence.forward(tokens, active: active, asOneBlock: false)
            sequence.allLogits(rows: active.count, transformer.compute.team, into: base + start * config.vocabSize)
        }
    }
}

extension Model.DType {
    /// How matrices of this type are held.
    package var precision: Precision {
        switch self {
        case .auto: .rows(nil)
        case .f32: .rows(LLK_F32)
        case .bf16: .packed(LLK_PACKED_BF16)
        case .int8: .packed(LLK_PACKED_INT8)
        case .int4: .packed(LLK_PACKED_INT4)
        }
    }

    fileprivate init(_ precision: Precision) {
        switch precision {
        case .packed(LLK_PACKED_BF16): self = .bf16
        case .packed(LLK_PACKED_INT8): self = .int8
        case .packed: self = .int4
        case .rows(.some): self = .f32
        case .rows(nil): self = .auto
        }
    }

    fileprivate func checkForKeysAndValues() throws(LLaDAError) {
        switch self {
        case .auto, .f32, .bf16: return
        case .int8, .int4: throw LLaDAError(.invalidArgument, "kv_dtype is \(self); expected auto, f32 or bf16")
        }
    }

    fileprivate func keyValues(besides precision: Precision) -> KeyValueType {
        if case .packed = precision, self == .auto { return .bf16 }
        return self == .bf16 ? .bf16 : .f32
    }

    /// The same for a folder whose weights may be packed already.
    fileprivate func precision(of packed: PackedFile?, in folder: String) throws(LLaDAError) -> Precision {
        guard let packed else { return precision }
        if self != .auto, precision != .packed(packed.precision) {
            let name = PackedFile.name(of: packed.precision)
            throw LLaDAError(
                .invalidArgument, "dtype is \(self); expected auto or \(name), as the weights of \(folder) are packed")
        }
        return .packed(packed.precision)
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

/// Where the ids of the mask and of the end of a sequence come from: the caller, the config files, the tokenizer, or
/// what LLaDA2.x ships with.
private struct SpecialTokens {
    let config: ModelConfig
    let tokenizer: Tokenizer?
    let options: Model.Options

    init(_ config: ModelConfig, _ tokenizer: Tokenizer?, _ options: Model.Options) {
        self.config = config
        self.tokenizer = tokenizer
        self.options = options
    }

    func mask() throws(LLaDAError) -> Int32? {
        if let given = options.maskTokenID { return try check(given, "mask_token_id") }
        if let id = config.maskTokenID { return Int32(id) }
        return known(tokenizer?.id(of: "<|mask|>")) ?? known(156_895)
    }

    func endOfSequence() throws(LLaDAError) -> [Int32] {
        for id in options.eosTokenIDs { _ = try check(id, "eos_token_id") }
        if !options.eosTokenIDs.isEmpty { return options.eosTokenIDs }
        if !config.eosTokenIDs.isEmpty { return config.eosTokenIDs.map { Int32($0) } }
        return [known(tokenizer?.id(of: "<|endoftext|>")) ?? known(156_892)].compactMap { $0 }
    }

    private func known(_ id: Int32?) -> Int32? { id.flatMap { 0..<config.vocabSize ~= Int($0) ? $0 : nil } }

    private func check(_ id: Int32, _ name: String) throws(LLaDAError) -> Int32 {
        guard 0..<config.vocabSize ~= Int(id) else {
            throw LLaDAError(.invalidArgument, "\(name) is \(id); expected 0 to \(config.vocabSize - 1)")
        }
        return id
    }
}

extension ModelConfig {
    /// `capacity` in place of what the file says; 0: as the file says.
    package func withExpertCapacity(_ capacity: Int) throws(LLaDAError) -> ModelConfig {
        if capacity == 0 { return self }
        guard numExpertsPerTok...max(numExpertsPerTok, numExperts) ~= capacity, numExperts > 0 else {
            throw LLaDAError(
                .invalidArgument, "expert_capacity is \(capacity); expected 0, or \(numExpertsPerTok) to \(numExperts)")
        }
        var config = self
        config.expertCapacity = capacity
        return config
    }

    /// Whether this model can run a canvas of so many positions in blocks of that length.
    func check(blockLength: Int, canvas: Int) throws(LLaDAError) {
        guard 1...maxPositionEmbeddings ~= blockLength else {
            throw LLaDAError(.invalidArgument, "block_length is \(blockLength); expected 1 to \(maxPositionEmbeddings)")
        }
        guard expertCapacity == 0 || blockLength % blockSize == 0 else {
            throw LLaDAError(
                .invalidArgument,
                "block_length is \(blockLength); expected a multiple of \(blockSize), the model's routing block")
        }
        guard canvas <= maxPositionEmbeddings else {
            throw LLaDAError(
                .invalidArgument,
                "\(canvas) positions are needed; the model has max_position_embeddings \(maxPositionEmbeddings)")
        }
    }

    func check(_ tokens: some Sequence<Int32>) throws(LLaDAError) {
        for (index, token) in tokens.enumerated() where !(0..<vocabSize ~= Int(token)) {
            throw LLaDAError(.invalidArgument, "token \(index) is \(token); expected 0 to \(vocabSize - 1)")
        }
    }
}
