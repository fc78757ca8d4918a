/// The checked `config.json` of a `llada2_moe` model. Every value is in range, no two values contradict each other, and
/// no product of a few of them can overflow an `Int`.
public struct ModelConfig: Sendable, Equatable {
    // MARK: Shape

    /// The width of the residual stream.
    public let hiddenSize: Int
    public let numHiddenLayers: Int
    /// The number of leading layers with a dense feed-forward. The other layers have a mixture of experts.
    public let firstKDenseReplace: Int
    public let vocabSize: Int
    /// The width of a dense feed-forward; 0 if no layer is dense and the file does not give it.
    public let intermediateSize: Int
    public let rmsNormEps: Double
    /// Whether the head is the embedding: there is one matrix for both.
    public let tieWordEmbeddings: Bool
    /// The number of layers of multi-token prediction that the file counts behind the model's; they are left out.
    let numNextnPredictLayers: Int
    /// The number of positions that the model runs, as the file gives it. With YaRN it is at least YaRN's factor times
    /// the original positions, because files differ in whether `max_position_embeddings` is the length before or after.
    public let maxPositionEmbeddings: Int
    /// The most positions of any model: up to this number every position is an exact float.
    static let mostPositions = 16_777_216

    // MARK: Attention

    public let numAttentionHeads: Int
    /// The number of heads of keys and values; it divides `numAttentionHeads`.
    public let numKeyValueHeads: Int
    /// The width of a head: as the file gives it, else `hiddenSize / numAttentionHeads`.
    public let headDim: Int
    public let ropeTheta: Double
    public let partialRotaryFactor: Double
    /// The number of leading dimensions of a head that are rotated; even.
    public let rotaryDim: Int
    /// The extension of the context; nil without YaRN.
    public let yarn: YaRN?

    // MARK: Experts. All are 0 if every layer is dense and the file does not give them.

    public let numExperts: Int
    public let numExpertsPerTok: Int
    /// The number of shared experts; 0 means none. Together they are one feed-forward of width
    /// `moeIntermediateSize * numSharedExperts`.
    public let numSharedExperts: Int
    public let moeIntermediateSize: Int
    /// The number of equal groups of experts. A token chooses among the experts of its best `topkGroup` groups. Both
    /// numbers are ignored if `expertCapacity` is not 0.
    public let nGroup: Int
    public let topkGroup: Int
    public let routedScalingFactor: Double
    public let moeRouterEnableExpertBias: Bool
    /// The number of experts that the tokens of one routing block may use together (LLaDA2.2); 0 means no limit.
    public package(set) var expertCapacity: Int
    /// The number of tokens of a routing block; it has no effect if `expertCapacity` is 0.
    public let blockSize: Int

    // MARK: Special tokens

    public let padTokenID: Int?
    /// The ids that decoding needs in each file, by precedence: `generation_config.json` before `config.json`.
    package private(set) var specialIDs: [SpecialIDs]

    /// The ids of one file.
    package struct SpecialIDs: Sendable, Equatable {
        package let file: String
        package let mask: Int?
        package let ends: [Int]
        package let delete, split: Int?
    }

    /// The id of the mask, from `generation_config.json` if that file has one; nil if neither file has one.
    public var maskTokenID: Int? { specialIDs.lazy.compactMap(\.mask).first }
    /// The ids of the end of a sequence, from `generation_config.json` if that file has any; empty if neither file has
    /// one.
    public var eosTokenIDs: [Int] { specialIDs.lazy.map(\.ends).first { !$0.isEmpty } ?? [] }
    public var deleteTokenID: Int? { specialIDs.lazy.compactMap(\.delete).first }
    public var splitTokenID: Int? { specialIDs.lazy.compactMap(\.split).first }

    /// The layout of float8 matrices; nil if the file declares none.
    package let blockFP8: BlockFP8?
    /// The type of the stored weights as the file names it ("bfloat16"); nil if the file does not name it.
    public let torchDtype: String?
    /// What was assumed where the file says nothing and no tensor can tell, a sentence each.
    package let notes: [String]

    package static let fileName = SideFiles.Name.config.rawValue

    /// Reads and checks a config. `file` is only its name in error messages. Throws `.config`, or `.unsupported` for
    /// what the library does not implement.
    package init(_ json: JSON, file: String = ModelConfig.fileName) throws(LLaDAError) {
        let fields = try ConfigFields(json, file: file)
        try Self.checkModelType(fields)
        try Self.refuseUnimplemented(fields)
        blockFP8 = try BlockFP8(fields)

        let hiddenSize = try fields.requiredInteger("hidden_size", in: 1...65_536)
        let layers = try fields.requiredInteger("num_hidden_layers", in: 1...1024)
        let dense = try fields.integer("first_k_dense_replace", in: 0...layers) ?? 0
        self.hiddenSize = hiddenSize
        numHiddenLayers = layers
        firstKDenseReplace = dense
        vocabSize = try fields.requiredInteger("vocab_size", in: 1...4_194_304)
        intermediateSize = try fields.integer("intermediate_size", in: 1...1_048_576, required: dense > 0)
        rmsNormEps = try fields.positive("rms_norm_eps") ?? 1e-5
        tieWordEmbeddings = try fields.bool("tie_word_embeddings") ?? false
        numNextnPredictLayers = try fields.integer("num_nextn_predict_layers", in: 0...1024) ?? 0

        let positions = try fields.integer("max_position_embeddings", in: 1...Self.mostPositions) ?? 16_384
        let attention = try AttentionFields(fields, hiddenSize: hiddenSize, positions: positions)
        numAttentionHeads = attention.heads
        numKeyValueHeads = attention.keyValueHeads
        headDim = attention.headDim
        ropeTheta = attention.rope.theta
        partialRotaryFactor = attention.rope.partialFactor
        rotaryDim = attention.rotaryDim
        yarn = attention.rope.yarn
        maxPositionEmbeddings = yarn?.positions(stated: positions) ?? positions

        let experts = try ExpertFields(fields, required: dense < layers)
        numExperts = experts.count
        numExpertsPerTok = experts.perToken
        numSharedExperts = experts.shared
        moeIntermediateSize = experts.intermediateSize
        nGroup = experts.groups
        topkGroup = experts.keptGroups
        routedScalingFactor = experts.scale
        moeRouterEnableExpertBias = try fields.bool("moe_router_enable_expert_bias") ?? true
        expertCapacity = experts.capacity
        blockSize = try fields.integer("block_size", in: 1...65_536) ?? 32

        let ids = 0...vocabSize - 1
        padTokenID = try fields.integer("pad_token_id", in: ids)
        specialIDs = [try SpecialIDs(fields, ids)]
        // transformers 5 writes "dtype".
        let dtype = try fields.string("dtype")
        torchDtype = (try fields.string("torch_dtype") ?? dtype)?.string
        notes = Self.assumptions(
            fields,
            [("rms_norm_eps", "1e-5"), ("rope_theta", attention.rope.isThetaGiven ? nil : "10000")]
                + (experts.groups > 0 && experts.capacity == 0 ? [("n_group", "8"), ("topk_group", "4")] : [])
                + (experts.groups > 0 ? [("routed_scaling_factor", "2.5")] : []))
    }

    /// Names the defaults that were taken for keys that are absent or null. Shapes of tensors do not show them.
    private static func assumptions(_ fields: ConfigFields, _ defaults: [(key: JSONString, value: String?)]) -> [String]
    {
        let taken = defaults.compactMap { key, value in
            fields.value(key) == nil ? value.map { "\(key.string) \($0)" } : nil
        }
        if taken.isEmpty { return [] }
        return ["\(fields.file) does not say, and LLaDA2's defaults are taken: \(taken.joined(separator: ", "))"]
    }

    /// Takes the ids of mask and end of sequence from `generation_config.json`, which is the newer word on how to
    /// generate.
    package mutating func apply(generation json: JSON, file: String) throws(LLaDAError) {
        let fields = try ConfigFields(json, file: file)
        specialIDs.insert(try SpecialIDs(fields, 0...vocabSize - 1), at: 0)
    }

    /// The tensors of LLaDA2 are those of Ling 2.0, and the config differs in little more than its name: a model that
    /// was trained to predict the next token would load and answer nonsense.
    private static func checkModelType(_ fields: ConfigFields) throws(LLaDAError) {
        let type = try fields.string("model_type")
        func isLing(_ name: JSONString) -> Bool {
            name.withBytes { String(decoding: $0.prefix(7), as: UTF8.self) }.lowercased() == "bailing"
        }
        var ling = type.flatMap { isLing($0) ? $0 : nil }
        var isNamed = false
        if case .array(let values)? = fields.value("architectures") {
            for case .string(let name) in values {
                if ling == nil, isLing(name) { ling = name }
                if name == "LLaDA2MoeModelLM" { isNamed = true }
            }
        }
        if let ling {
            throw fields.error(
                type == ling ? "model_type" : "architectures", found: "\(ling.quoted) (Ling), an autoregressive model",
                expected: "a diffusion model, \"llada2_moe\"", .unsupported)
        }
        if type == "llada2_moe" || type == "llada2_moe_veomni" { return }
        if type == nil, isNamed { return }
        throw fields.error(
            "model_type", found: type?.quoted ?? "missing",
            expected: "\"llada2_moe\" (or dFactory's \"llada2_moe_veomni\")", type == nil ? .config : .unsupported)
    }

    private static func refuseUnimplemented(_ fields: ConfigFields) throws(LLaDAError) {
        try fields.require("hidden_act", oneOf: ["silu"])
        try fields.require("score_function", oneOf: ["sigmoid"])
        try fields.require("router_dtype", oneOf: ["fp32", "float32"])
        try fields.require("use_qk_norm", true)
        try fields.require("norm_topk_prob", true)
        let off: [JSONString] = [
            "use_bias", "use_qkv_bias", "norm_head", "use_sliding_window", "using_split_qkv_in_self_attention",
        ]
        for key in off { try fields.require(key, false) }
    }
}

extension ModelConfig.SpecialIDs {
    fileprivate init(_ fields: ConfigFields, _ ids: ClosedRange<Int>) throws(LLaDAError) {
        file = fields.file
        mask = try fields.integer("mask_token_id", in: ids)
        ends = try fields.integers("eos_token_id", in: ids) ?? []
        delete = try fields.integer("delete_token_id", in: ids)
        split = try fields.integer("split_token_id", in: ids)
    }
}

extension ConfigFields {
    /// Returns the integer, or 0 if it is neither there nor required.
    fileprivate func integer(
        _ key: JSONString, in range: ClosedRange<Int>, required: Bool
    ) throws(LLaDAError) -> Int {
        required ? try requiredInteger(key, in: range) : try integer(key, in: range) ?? 0
    }
}

/// The keys of attention and of its rotary position embedding.
private struct AttentionFields {
    let heads, keyValueHeads, headDim, rotaryDim: Int
    let rope: RopeFields

    init(_ fields: ConfigFields, hiddenSize: Int, positions: Int) throws(LLaDAError) {
        heads = try fields.requiredInteger("num_attention_heads", in: 1...1024)
        keyValueHeads = try fields.integer("num_key_value_heads", in: 1...1024) ?? heads
        if heads % keyValueHeads != 0 {
            throw fields.error(
                "num_key_value_heads", found: "\(keyValueHeads)", expected: "a divisor of \(heads) heads")
        }
        if let given = try fields.integer("head_dim", in: 1...1024) {
            headDim = given
        } else {
            headDim = hiddenSize / heads
            if hiddenSize % heads != 0 || !(1...1024).contains(headDim) {
                throw fields.error(
                    "head_dim", found: "missing",
                    expected: "an integer from 1 to 1024, as hidden_size \(hiddenSize) / \(heads) heads is none")
            }
        }
        rope = try RopeFields(fields, positions: positions)
        // The product is truncated, as Python's int() does. The factor is at most 1, so the result fits an Int.
        rotaryDim = Int(Double(headDim) * rope.partialFactor)
        if rotaryDim < 2 || rotaryDim % 2 != 0 {
            throw fields.error(
                "partial_rotary_factor", found: "\(rope.partialFactor), rotating \(rotaryDim) of head_dim \(headDim)",
                expected: "an even number of at least 2")
        }
        if let given = try fields.integer("rotary_dim", in: 2...1024), given != rotaryDim {
            throw fields.error(
                "rotary_dim", found: "\(given)",
                expected: "\(rotaryDim), head_dim \(headDim) times partial_rotary_factor \(rope.partialFactor)")
        }
    }
}

/// The keys of the mixture of experts.
private struct ExpertFields {
    let count, perToken, shared, intermediateSize, groups, keptGroups, capacity: Int
    let scale: Double

    init(_ fields: ConfigFields, required: Bool) throws(LLaDAError) {
        count = try fields.integer("num_experts", in: 1...4096, required: required)
        perToken = try fields.integer("num_experts_per_tok", in: 1...4096, required: required)
        intermediateSize = try fields.integer("moe_intermediate_size", in: 1...1_048_576, required: required)
        shared = try fields.integer("num_shared_experts", in: 0...1024) ?? 0
        groups = try fields.integer("n_group", in: 1...4096) ?? (required ? 8 : 0)
        keptGroups = try fields.integer("topk_group", in: 1...4096) ?? (required ? 4 : 0)
        scale = try fields.positive("routed_scaling_factor") ?? 2.5
        capacity = try fields.integer("expert_capacity", in: 0...4096) ?? 0
        if !required { return }

        if perToken > count {
            throw fields.error("num_experts_per_tok", found: "\(perToken)", expected: "at most num_experts, \(count)")
        }
        if capacity > 0 {
            // Block routing replaces the groups; their keys may stay in the file without meaning.
            if capacity < perToken || capacity > count {
                throw fields.error(
                    "expert_capacity", found: "\(capacity)",
                    expected: "0, or from num_experts_per_tok \(perToken) to num_experts \(count)")
            }
        } else {
            try checkGroups(fields)
        }
    }

    private func checkGroups(_ fields: ConfigFields) throws(LLaDAError) {
        let stated = fields.value("n_group") == nil ? "missing, so LLaDA2's \(groups)" : "\(groups)"
        if count % groups != 0 {
            throw fields.error("n_group", found: stated, expected: "a divisor of num_experts, \(count)")
        }
        // A group's score is the sum of its two best experts.
        if groups > 1 && count / groups < 2 {
            throw fields.error(
                "n_group", found: stated, expected: "at most \(count / 2), for 2 experts in each group")
        }
        if keptGroups > groups {
            throw fields.error("topk_group", found: "\(keptGroups)", expected: "at most n_group, \(groups)")
        }
        let choice = keptGroups * (count / groups)
        if perToken > choice {
            throw fields.error(
                "num_experts_per_tok", found: "\(perToken)",
                expected: "at most \(choice), the experts of \(keptGroups) of \(groups) groups")
        }
    }
}
