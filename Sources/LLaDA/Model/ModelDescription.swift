/// What a checkpoint is, from its small files and the headers of its weights: no weight is read. A checkpoint that does
/// not load has a description too, with what is wrong: it is what belongs to a bug report.
public struct ModelDescription: Sendable {
    /// A thing that keeps the checkpoint from loading.
    public struct Problem: Sendable, Equatable {
        public let status: Status
        public let message: String
    }

    /// How weights are stored.
    public enum Container: String, Sendable {
        case safetensors
        /// A folder that a model was saved to.
        case packed
        case gguf
    }

    /// Tensors of one stored type.
    public struct StoredType: Sendable, Equatable {
        /// The name that the file has for the type: "BF16".
        public let name: String
        public internal(set) var tensors: Int
        /// The bytes on the disk.
        public internal(set) var bytes: Int
    }

    /// An id, and the place where it was found.
    public struct SpecialToken: Sendable, Equatable {
        public let id: Int32
        public let source: String
    }

    /// The tokenizer, as its file says.
    public struct TokenizerSummary: Sendable, Equatable {
        /// The largest id that has a token, plus one.
        public let vocabularySize: Int
        public let addedTokens: Int
        /// The added tokens that are control tokens.
        public let controlTokens: Int
    }

    /// What a model needs that is held in a format.
    public struct Memory: Sendable, Equatable {
        /// The format of matrices; nil: as stored, `auto`.
        public let dtype: NumberFormat?
        /// `Model.weightBytes` of a model opened so.
        public let weightBytes: Int
        /// The format of keys and values that goes with it.
        public let kvDType: NumberFormat
        /// The bytes of keys and values of one token.
        public let kvBytesPerToken: Int
        /// The bytes of weights that a step of `stepTokens` tokens reads, as expected: `expectedExperts`.
        public let stepBytes: Int
        /// The most bytes of memory while the model is opened, as `Options.memoryLimit` counts them: with mapped files.
        public let openingBytes: Int
        /// `Model.memoryUsed` of a model that was just opened.
        public internal(set) var openBytes: Int
        /// The same two with `Options.useMmap`, where the experts of a packed model stay in their file.
        public let mappedOpeningBytes: Int
        public internal(set) var mappedOpenBytes: Int
        /// The bytes that decoders with blocks of 32 positions take beside keys and values: a workspace for each
        /// forward that runs at a time, with the threads of this machine.
        public let workspaceBytes: Int
    }

    /// The number of tokens of a step in `Memory.stepBytes`: a block of LLaDA2.x.
    public static let stepTokens = 32

    public let path: String
    /// How weights are stored; nil if that cannot be told.
    public internal(set) var container: Container?
    /// The family, and what the answer rests on.
    public internal(set) var family = ModelFamily(name: nil, evidence: "nothing could be read")
    /// The config; nil if it cannot be read.
    public internal(set) var config: ModelConfig?
    /// What is stored, by falling bytes.
    public internal(set) var storedTypes: [StoredType] = []
    /// The number of parameters; nil if tensors are missing.
    public internal(set) var parameters: Int?
    public internal(set) var mask: SpecialToken?
    public internal(set) var ends: [SpecialToken] = []
    /// The id that stands for the deletion of a token, and that for a mask before a token; nil if there are none.
    public internal(set) var delete: SpecialToken?
    public internal(set) var split: SpecialToken?
    /// The tokenizer; nil if there is none, or if it cannot be read.
    public internal(set) var tokenizer: TokenizerSummary?
    /// Whether conversations are laid out as LLaDA2 and Ling 2.0 do; nil without a tokenizer.
    public internal(set) var isKnownChatLayout: Bool?
    /// What that answer rests on.
    public internal(set) var chatLayoutReason: String?
    /// The memory that each format needs, `auto` first; empty if the tensors are not those of the config.
    public internal(set) var memory: [Memory] = []
    /// The bytes of memory that this process may have: the machine's, or what control groups leave of that; nil if it
    /// cannot be told.
    public internal(set) var memoryBytes: Int?
    /// The experts of a layer that a step of `stepTokens` tokens uses, as expected if routers chose at random: an
    /// estimate from above, as tokens of one text choose alike.
    public internal(set) var expectedExperts: Double?
    /// What loading leaves out or overlooks, a sentence each.
    public internal(set) var notes: [String] = []
    /// What keeps the checkpoint from loading, a problem for each part that was tried.
    public internal(set) var problems: [Problem] = []

    /// Whether there is memory for a model of this format, and for a forward at a time; with `mapped` for one opened
    /// with `Options.useMmap`. Pages of mapped files need none, but where they do not find room as well, steps wait for
    /// the disk. What else takes memory is not looked at. Nil if the memory is unknown.
    public func fits(_ memory: Memory, mapped: Bool = false) -> Bool? {
        let opening = mapped ? memory.mappedOpeningBytes : memory.openingBytes
        let open = mapped ? memory.mappedOpenBytes : memory.openBytes
        return memoryBytes.map { max(opening, open + memory.workspaceBytes) <= $0 }
    }

    /// Whether the checkpoint would load. What only the weights' numbers can tell is not known.
    public var loads: Bool { problems.isEmpty }
}

extension Model {
    /// Describes the checkpoint at `path` without loading it. Never throws: what cannot be read is among the problems.
    public static func describe(path: String) -> ModelDescription {
        let inspection = CheckpointInspection(path)
        inspection.run()
        return inspection.description
    }
}
