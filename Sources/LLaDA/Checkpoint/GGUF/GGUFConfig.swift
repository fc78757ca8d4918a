/// The `config.json` that a GGUF file's metadata become (spec: gguf.md, section 1). What the text says is checked when
/// it is read; checked here is what it cannot say.
struct GGUFConfig {
    private let general: GGUFFields
    private let fields: GGUFFields

    static let architecture = "llada2"

    /// Throws `.unsupported` for another architecture.
    init(_ file: GGUF) throws(LLaDAError) {
        general = GGUFFields(file: file, prefix: "")
        fields = GGUFFields(file: file, prefix: Self.architecture + ".")
        guard try general.string("general.architecture") == JSONString(Self.architecture) else {
            throw general.error("general.architecture", expected: "\"\(Self.architecture)\"", .unsupported)
        }
    }

    /// Returns the text. `hasExpertBias` says whether the file has biases for the choice of experts.
    func json(hasExpertBias: Bool, _ budget: MemoryBudget?) throws(LLaDAError) -> SharedBytes {
        try refuseUnimplemented()
        var text = JSONText()
        text.add("architectures", json: "[\"LLaDA2MoeModelLM\"]")
        text.add("model_type", string: "llada2_moe")
        text.add("vocab_size", try vocabularySize())
        text.add("hidden_size", try fields.requiredInteger("embedding_length"))
        let layers = try fields.requiredInteger("block_count")
        text.add("num_hidden_layers", layers)
        let dense = try fields.integer("leading_dense_block_count") ?? 0
        text.add("first_k_dense_replace", dense)
        if let width = try fields.integer("feed_forward_length") { text.add("intermediate_size", width) }
        text.add("max_position_embeddings", try fields.requiredInteger("context_length"))
        text.add("rms_norm_eps", json: try fields.requiredNumber("attention.layer_norm_rms_epsilon"))
        try addAttention(&text)
        if dense < layers { try addExperts(&text, hasBias: hasExpertBias) }
        try addTokens(&text)
        return try SharedBytes(copying: text.finished(), in: budget)
    }

    private func refuseUnimplemented() throws(LLaDAError) {
        for place in [general, fields] where try place.bool("diffusion.shift_logits") == true {
            throw place.error("diffusion.shift_logits", expected: "false, all that is implemented", .unsupported)
        }
        if let gating = try fields.integer("expert_gating_func"), gating != 2 {
            throw fields.error("expert_gating_func", expected: "2 (sigmoid), all that is implemented", .unsupported)
        }
        if try fields.integer("nextn_predict_layers") ?? 0 != 0 {
            throw fields.error("nextn_predict_layers", expected: "0, all that is implemented", .unsupported)
        }
    }

    private func vocabularySize() throws(LLaDAError) -> Int {
        if let size = try fields.integer("vocab_size") { return size }
        if let tokens = try general.array("tokenizer.ggml.tokens", of: .string) { return tokens.count }
        throw fields.error("vocab_size", expected: "an integer")
    }

    // MARK: Attention

    private func addAttention(_ text: inout JSONText) throws(LLaDAError) {
        let heads = try fields.requiredInteger("attention.head_count")
        text.add("num_attention_heads", heads)
        text.add("num_key_value_heads", try fields.integer("attention.head_count_kv") ?? heads)
        let width: Int
        if let length = try fields.integer("attention.key_length") {
            width = length
        } else {
            width = heads > 0 ? try fields.requiredInteger("embedding_length") / heads : 0
        }
        if let value = try fields.integer("attention.value_length"), value != width {
            throw fields.error(
                "attention.value_length", expected: "\(width), the length of keys, all that is implemented",
                .unsupported)
        }
        text.add("head_dim", width)
        text.add("rope_theta", json: try fields.number("rope.freq_base") ?? "10000")
        let rotated = try fields.integer("rope.dimension_count") ?? width
        if !(2...max(2, width)).contains(rotated) {
            throw fields.error("rope.dimension_count", expected: "2 to the length of keys, \(width)")
        }
        text.add("rotary_dim", rotated)
        // The product with the width is truncated, so the quotient must not be rounded down.
        let factor = Double(rotated) / Double(max(width, 1))
        text.add(
            "partial_rotary_factor",
            json: "\(Int(factor * Double(width)) < rotated ? factor.nextUp : factor)")
        try addScaling(&text)
    }

    private static let scalingKeys: Set<String> = [
        "type", "factor", "original_context_length", "finetuned", "attn_factor", "yarn_attn_factor", "yarn_beta_fast",
        "yarn_beta_slow",
    ]

    private func addScaling(_ text: inout JSONText) throws(LLaDAError) {
        let scaling = GGUFFields(file: fields.file, prefix: fields.prefix + "rope.scaling.")
        switch try scaling.string("type") {
        case nil, "none"?: return
        case "yarn"?: break
        default: throw scaling.error("type", expected: "\"none\" or \"yarn\", all that is implemented", .unsupported)
        }
        for key in fields.file.keys where key.hasPrefix(scaling.prefix) {
            let name = String(key.dropFirst(scaling.prefix.count))
            if !Self.scalingKeys.contains(name) {
                throw scaling.error(name, expected: "no such key, as it is not implemented", .unsupported)
            }
        }
        var yarn = JSONText()
        yarn.add("rope_type", string: "yarn")
        let factor = try scaling.requiredNumber("factor")
        yarn.add("factor", json: factor)
        if let original = try scaling.integer("original_context_length") {
            yarn.add("original_max_position_embeddings", original)
        }
        if let fast = try scaling.number("yarn_beta_fast") { yarn.add("beta_fast", json: fast) }
        if let slow = try scaling.number("yarn_beta_slow") { yarn.add("beta_slow", json: slow) }
        // GGUF has a factor of YaRN's own attention factor, 0.1 ln(factor) + 1; the config has the product.
        var product = 1.0
        for key in ["attn_factor", "yarn_attn_factor"] {
            if let text = try scaling.number(key), let number = Double(text) { product *= number }
        }
        if product != 1, let factor = Double(factor), factor >= 1 {
            yarn.add("attention_factor", json: "\(product * YaRN.scale(factor, 1))")
        }
        text.add("rope_scaling", yarn)
    }

    // MARK: Experts and tokens

    private func addExperts(_ text: inout JSONText, hasBias: Bool) throws(LLaDAError) {
        text.add("num_experts", try fields.requiredInteger("expert_count"))
        text.add("num_experts_per_tok", try fields.requiredInteger("expert_used_count"))
        let width = try fields.requiredInteger("expert_feed_forward_length")
        text.add("moe_intermediate_size", width)
        let shared = try fields.integer("expert_shared_count") ?? 0
        text.add("num_shared_experts", shared)
        // Some writers state the width of one shared expert, some that of all. The tensors' shapes are checked.
        let widths = [width, width.multipliedReportingOverflow(by: shared).partialValue]
        if let stated = try fields.integer("expert_shared_feed_forward_length"), !widths.contains(stated) {
            throw fields.error(
                "expert_shared_feed_forward_length",
                expected: "\(width), as expert_feed_forward_length, for each of \(shared)", .unsupported)
        }
        text.add("n_group", try fields.requiredInteger("expert_group_count"))
        text.add("topk_group", try fields.requiredInteger("expert_group_used_count"))
        text.add("routed_scaling_factor", json: try fields.requiredNumber("expert_weights_scale"))
        text.add("norm_topk_prob", try fields.bool("expert_weights_norm") ?? true)
        text.add("moe_router_enable_expert_bias", hasBias)
        text.add("score_function", string: "sigmoid")
    }

    private func addTokens(_ text: inout JSONText) throws(LLaDAError) {
        let names = [
            ("eos_token_id", "eos_token_id"), ("mask_token_id", "mask_token_id"),
            ("padding_token_id", "pad_token_id"),
        ]
        for (key, name) in names {
            if let id = try general.integer("tokenizer.ggml.\(key)") { text.add(name, id) }
        }
    }
}
