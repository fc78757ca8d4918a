import LLaDA
import TestSupport
import Testing

@Suite struct ModelConfigTests {
    /// Every key with its JSON text; tests replace, add or remove single ones.
    static let mini: [String: String] = [
        "architectures": "[\"LLaDA2MoeModelLM\"]", "model_type": "\"llada2_moe\"", "hidden_size": "2048",
        "num_hidden_layers": "20", "first_k_dense_replace": "1", "num_attention_heads": "16",
        "num_key_value_heads": "4",
        "head_dim": "128", "intermediate_size": "5120", "moe_intermediate_size": "512", "num_experts": "256",
        "num_experts_per_tok": "8", "num_shared_experts": "1", "n_group": "8", "topk_group": "4",
        "vocab_size": "157184",
        "rms_norm_eps": "1e-06", "rope_theta": "600000", "rope_scaling": "null", "partial_rotary_factor": "0.5",
        "rotary_dim": "64", "hidden_act": "\"silu\"", "use_bias": "false", "use_qkv_bias": "false",
        "tie_word_embeddings": "false", "norm_head": "false", "use_sliding_window": "false", "sliding_window": "4096",
        "routed_scaling_factor": "2.5", "norm_topk_prob": "true", "score_function": "\"sigmoid\"",
        "router_dtype": "\"fp32\"", "moe_router_enable_expert_bias": "true", "pad_token_id": "156892",
        "torch_dtype": "\"bfloat16\"", "max_position_embeddings": "32768", "attention_dropout": "0.0",
        "using_split_qkv_in_self_attention": "false",
    ]

    /// The text of `mini` with some keys changed; nil removes one.
    static func text(_ changes: [String: String?]) -> String {
        var keys = mini
        for (key, value) in changes { keys[key] = value }
        return "{" + keys.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",\n ") + "}"
    }

    static func config(_ changes: [String: String?] = [:]) throws -> ModelConfig {
        try ModelConfig(try JSON.parse(Array(text(changes).utf8), file: "config.json"))
    }

    // MARK: Values

    @Test func readsMini() throws {
        let c = try Self.config()
        #expect(
            [c.hiddenSize, c.numHiddenLayers, c.firstKDenseReplace, c.numAttentionHeads, c.numKeyValueHeads, c.headDim]
                == [2048, 20, 1, 16, 4, 128])
        #expect(
            [c.intermediateSize, c.moeIntermediateSize, c.numExperts, c.numExpertsPerTok, c.numSharedExperts, c.nGroup]
                == [5120, 512, 256, 8, 1, 8])
        #expect([c.topkGroup, c.vocabSize, c.rotaryDim, c.maxPositionEmbeddings] == [4, 157_184, 64, 32_768])
        #expect(
            [c.rmsNormEps, c.ropeTheta, c.partialRotaryFactor, c.routedScalingFactor] == [1e-6, 600_000, 0.5, 2.5])
        #expect(c.moeRouterEnableExpertBias && c.expertCapacity == 0 && c.blockSize == 32)
        #expect(c.padTokenID == 156_892 && c.maskTokenID == nil && c.eosTokenIDs == [])
        #expect(c.deleteTokenID == nil && c.splitTokenID == nil && c.torchDtype == "bfloat16")
    }

    @Test func readsWhat22Adds() throws {
        let c = try Self.config([
            "block_size": "32", "expert_capacity": "48", "delete_token_id": "156930", "split_token_id": "156931",
            "use_qk_norm": "true", "mask_token_id": "156895", "eos_token_id": "[156892, 156900]",
        ])
        #expect([c.blockSize, c.expertCapacity, c.deleteTokenID, c.splitTokenID] == [32, 48, 156_930, 156_931])
        #expect(c.maskTokenID == 156_895 && c.eosTokenIDs == [156_892, 156_900])
        #expect(try Self.config(["expert_capacity": "48"]).blockSize == 32)
        // The groups are ignored then, even if they make no sense.
        #expect(try Self.config(["expert_capacity": "48", "n_group": "7"]).expertCapacity == 48)
        #expect(try Self.config(["expert_capacity": "null"]).expertCapacity == 0)
    }

    @Test func usesDefaults() throws {
        let absent = [
            "first_k_dense_replace", "num_key_value_heads", "head_dim", "num_shared_experts", "rms_norm_eps",
            "rope_theta",
            "rope_scaling", "partial_rotary_factor", "rotary_dim", "hidden_act", "use_bias", "norm_head",
            "score_function",
            "routed_scaling_factor", "moe_router_enable_expert_bias", "pad_token_id", "torch_dtype", "n_group",
            "topk_group",
            "max_position_embeddings", "intermediate_size", "router_dtype", "model_type",
        ]
        let c = try Self.config(Dictionary(uniqueKeysWithValues: absent.map { ($0, nil) }))
        #expect(
            [c.firstKDenseReplace, c.numKeyValueHeads, c.headDim, c.numSharedExperts, c.rotaryDim] == [
                0, 16, 128, 0, 64,
            ])
        #expect([c.rmsNormEps, c.ropeTheta, c.partialRotaryFactor, c.routedScalingFactor] == [1e-5, 10_000, 0.5, 2.5])
        #expect([c.nGroup, c.topkGroup, c.maxPositionEmbeddings, c.intermediateSize] == [8, 4, 16_384, 0])
        #expect(c.moeRouterEnableExpertBias && c.padTokenID == nil && c.torchDtype == nil)
        #expect(try Self.config(["torch_dtype": nil, "dtype": "\"float32\""]).torchDtype == "float32")
        #expect(try Self.config(["eos_token_id": "7"]).eosTokenIDs == [7])
        #expect(try Self.config(["eos_token_id": "null", "head_dim": "null"]).eosTokenIDs == [])
    }

    /// null is absent, and 4.0 is 4, for every key.
    @Test func readsWhatToolsWrite() throws {
        let usual = try Self.config([:])
        #expect(usual.notes == [])
        let floats = ["hidden_size", "num_hidden_layers", "num_experts", "n_group", "vocab_size", "rotary_dim"]
        #expect(
            try Self.config(Dictionary(uniqueKeysWithValues: floats.map { ($0, Self.mini[$0].map { $0 + ".0" }) }))
                == usual)
        let nulls = [
            "use_bias", "tie_word_embeddings", "norm_topk_prob", "use_sliding_window", "num_nextn_predict_layers",
        ]
        #expect(try Self.config(Dictionary(uniqueKeysWithValues: nulls.map { ($0, "null") })) == usual)
        let assumed = try Self.config(["n_group": "null", "topk_group": nil, "rope_theta": "null"])
        #expect(assumed.nGroup == 8 && assumed.topkGroup == 4)
        #expect(
            assumed.notes == [
                "config.json does not say, and LLaDA2's defaults are taken: rope_theta 10000, n_group 8, topk_group 4"
            ])
        #expect(try Self.config(["tie_word_embeddings": "true"]).tieWordEmbeddings)
        #expect(try Self.config(["model_type": "\"llada2_moe_veomni\""]) == usual)
    }

    @Test func denseModelsNeedNoExperts() throws {
        let keys = [
            "moe_intermediate_size", "num_experts", "num_experts_per_tok", "num_shared_experts", "n_group",
            "topk_group",
        ]
        var changes: [String: String?] = Dictionary(uniqueKeysWithValues: keys.map { ($0, nil) })
        changes["first_k_dense_replace"] = "20"
        #expect(try Self.config(changes).numExperts == 0)
    }

    @Test func readsRopeFromEitherPlace() throws {
        let moved: [String: String?] = [
            "rope_theta": nil, "partial_rotary_factor": nil,
            "rope_parameters": "{\"rope_type\":\"default\",\"rope_theta\":3000000,\"partial_rotary_factor\":0.25}",
        ]
        #expect(try Self.config(moved.merging(["rotary_dim": "32"]) { $1 }).ropeTheta == 3_000_000)
        #expect(try Self.config(["rope_parameters": "{\"rope_theta\":600000.0}"]).ropeTheta == 600_000)
        #expect(try Self.config(["rope_scaling": "{\"type\":\"default\"}"]).rotaryDim == 64)
        expectRefusal(.config, ["rotary_dim is 64", "expected 32"]) { _ = try Self.config(moved) }
    }

    @Test func generationConfigOverrides() throws {
        var c = try Self.config(["eos_token_id": "1", "mask_token_id": "2"])
        func apply(_ text: String) throws {
            try c.apply(
                generation: try JSON.parse(Array(text.utf8), file: "generation_config.json"),
                file: "generation_config.json")
        }
        try apply("{\"temperature\":0.0}")
        #expect(c.eosTokenIDs == [1] && c.maskTokenID == 2)
        try apply("{\"eos_token_id\":[156892,156900],\"mask_token_id\":156895}")
        #expect(c.eosTokenIDs == [156_892, 156_900] && c.maskTokenID == 156_895)
        try apply("{\"eos_token_id\":5,\"mask_token_id\":null}")
        #expect(c.eosTokenIDs == [5] && c.maskTokenID == 156_895)
        expectRefusal(.config, ["generation_config.json: eos_token_id is 157184", "0 to 157183"]) {
            try apply("{\"eos_token_id\":157184}")
        }
        expectRefusal(.config, ["generation_config.json: is an array of 0"]) { try apply("[]") }
    }

    // MARK: Refusals

    static let refusals: [(changes: [String: String?], parts: [String])] = [
        (["model_type": nil, "architectures": nil], ["model_type is missing", "llada2_moe"]),
        (["model_type": "7"], ["model_type is 7", "a string"]),
        (["hidden_size": nil], ["hidden_size is missing", "1 to 65536"]),
        (["hidden_size": "null"], ["hidden_size is null"]),
        (["hidden_size": "0"], ["hidden_size is 0"]),
        (["hidden_size": "65537"], ["hidden_size is 65537"]),
        (["hidden_size": "\"2048\""], ["hidden_size is \"2048\"", "an integer"]),
        (["hidden_size": "2048.5"], ["hidden_size is 2048.5", "an integer"]),
        (["hidden_size": "1e300"], ["hidden_size is 1e+300", "an integer"]),
        (["hidden_size": "true"], ["hidden_size is true"]),
        (["hidden_size": "9223372036854775808"], ["hidden_size is 9.2"]),
        (["num_hidden_layers": "-1"], ["num_hidden_layers is -1", "1 to 1024"]),
        (["num_hidden_layers": nil], ["num_hidden_layers is missing"]),
        (["first_k_dense_replace": "21"], ["first_k_dense_replace is 21", "0 to 20"]),
        (["first_k_dense_replace": "-1"], ["first_k_dense_replace is -1"]),
        (["vocab_size": nil], ["vocab_size is missing"]),
        (["vocab_size": "4194305"], ["vocab_size is 4194305"]),
        (["intermediate_size": nil], ["intermediate_size is missing"]),
        (["intermediate_size": "1048577"], ["intermediate_size is 1048577"]),
        (["rms_norm_eps": "0"], ["rms_norm_eps is 0", "positive"]),
        (["rms_norm_eps": "-1e-6"], ["rms_norm_eps is -1e-06"]),
        (["rms_norm_eps": "1e-60"], ["rms_norm_eps is 1e-60", "range of a float"]),
        (["rms_norm_eps": "\"1e-6\""], ["rms_norm_eps is \"1e-6\""]),
        (["rope_theta": "1e39"], ["rope_theta is 1e+39"]),
        (["rope_theta": "0.0"], ["rope_theta is 0.0"]),
        (["routed_scaling_factor": "-2.5"], ["routed_scaling_factor is -2.5"]),
        (["max_position_embeddings": "16777217"], ["max_position_embeddings is 16777217"]),
        (["num_attention_heads": "1025"], ["num_attention_heads is 1025"]),
        (["num_attention_heads": nil], ["num_attention_heads is missing"]),
        (["num_key_value_heads": "3"], ["num_key_value_heads is 3", "a divisor of 16"]),
        (["num_key_value_heads": "0"], ["num_key_value_heads is 0"]),
        (["num_key_value_heads": "32"], ["num_key_value_heads is 32", "a divisor of 16"]),
        (["head_dim": "0"], ["head_dim is 0"]),
        (["head_dim": "1025"], ["head_dim is 1025"]),
        (["head_dim": nil, "hidden_size": "2047"], ["head_dim is missing", "2047 / 16"]),
        (["head_dim": nil, "hidden_size": "8", "num_attention_heads": "16"], ["head_dim is missing"]),
        (["partial_rotary_factor": "1.5"], ["partial_rotary_factor is 1.5", "at most 1"]),
        (["partial_rotary_factor": "0"], ["partial_rotary_factor is 0"]),
        (["partial_rotary_factor": "0.01", "rotary_dim": nil], ["partial_rotary_factor is 0.01, rotating 1 of"]),
        (["partial_rotary_factor": "0.51", "rotary_dim": nil], ["rotating 65 of", "even"]),
        (["rotary_dim": "32"], ["rotary_dim is 32", "64, head_dim 128 times"]),
        (["rope_parameters": "{\"rope_theta\":10000}"], ["rope_parameters.rope_theta is 10000.0", "600000.0"]),
        (
            ["rope_parameters": "{\"partial_rotary_factor\":1}"],
            ["rope_parameters.partial_rotary_factor is 1.0", "0.5"]
        ),
        (["rope_parameters": "7"], ["rope_parameters is 7", "an object or null"]),
        (["rope_scaling": "{\"type\":3}"], ["rope_scaling.type is 3", "a string"]),
        (["rope_scaling": "\"yarn\""], ["rope_scaling is \"yarn\""]),
        (["num_experts": nil], ["num_experts is missing"]),
        (["num_experts": "4097"], ["num_experts is 4097"]),
        (["num_experts_per_tok": nil], ["num_experts_per_tok is missing"]),
        (["moe_intermediate_size": nil], ["moe_intermediate_size is missing"]),
        (["num_shared_experts": "-1"], ["num_shared_experts is -1"]),
        (["num_experts_per_tok": "257"], ["num_experts_per_tok is 257", "num_experts, 256"]),
        (["num_experts_per_tok": "129"], ["num_experts_per_tok is 129", "at most 128"]),
        (["n_group": "7"], ["n_group is 7", "a divisor of num_experts"]),
        (["n_group": "256"], ["n_group is 256", "at most 128"]),
        (["n_group": "0"], ["n_group is 0"]),
        (["topk_group": "9"], ["topk_group is 9", "at most n_group, 8"]),
        (["topk_group": "0"], ["topk_group is 0"]),
        (["expert_capacity": "7"], ["expert_capacity is 7", "num_experts_per_tok 8"]),
        (["expert_capacity": "257"], ["expert_capacity is 257", "num_experts 256"]),
        (["expert_capacity": "-1"], ["expert_capacity is -1"]),
        (["block_size": "0"], ["block_size is 0"]),
        (["pad_token_id": "157184"], ["pad_token_id is 157184", "0 to 157183"]),
        (["pad_token_id": "-1"], ["pad_token_id is -1"]),
        (["mask_token_id": "157184"], ["mask_token_id is 157184"]),
        (["delete_token_id": "157184"], ["delete_token_id is 157184"]),
        (["split_token_id": "157184"], ["split_token_id is 157184"]),
        (["eos_token_id": "[1,157184]"], ["eos_token_id is 157184"]),
        (["eos_token_id": "[1,\"2\"]"], ["eos_token_id is \"2\""]),
        (["eos_token_id": "[]"], ["eos_token_id is an empty array"]),
        (["moe_router_enable_expert_bias": "1"], ["moe_router_enable_expert_bias is 1", "true or false"]),
        (["use_bias": "0"], ["use_bias is 0", "true or false"]),
        (["norm_topk_prob": "\"true\""], ["norm_topk_prob is \"true\""]),
        (["hidden_act": "1"], ["hidden_act is 1", "a string"]),
        (["torch_dtype": "16"], ["torch_dtype is 16", "a string"]),
    ]

    static let unsupported: [(changes: [String: String?], parts: [String])] = [
        (
            ["model_type": "\"llama\"", "architectures": "[\"LlamaForCausalLM\"]"],
            ["model_type is \"llama\"", "llada2_moe"]
        ),
        (["hidden_act": "\"gelu\""], ["hidden_act is \"gelu\"", "\"silu\""]),
        (["score_function": "\"softmax\""], ["score_function is \"softmax\"", "\"sigmoid\""]),
        (["router_dtype": "\"bf16\""], ["router_dtype is \"bf16\"", "\"fp32\" or \"float32\""]),
        (["use_qk_norm": "false"], ["use_qk_norm is false", "expected true"]),
        (["norm_topk_prob": "false"], ["norm_topk_prob is false"]),
        (["use_bias": "true"], ["use_bias is true", "expected false"]),
        (["use_qkv_bias": "true"], ["use_qkv_bias is true"]),
        (["model_type": "\"bailing_moe_v2\""], ["model_type is \"bailing_moe_v2\"", "autoregressive"]),
        (["architectures": "[\"BailingMoeV2ForCausalLM\"]"], ["architectures is", "autoregressive"]),
        (["norm_head": "true"], ["norm_head is true"]),
        (["use_sliding_window": "true"], ["use_sliding_window is true"]),
        (["using_split_qkv_in_self_attention": "true"], ["using_split_qkv_in_self_attention is true"]),
        (["quantization_config": "{\"quant_method\":\"fp8\"}"], ["quantization_config.weight_block_size is missing"]),
        (["quantization_config": "{\"quant_method\":\"awq\"}"], ["quantization_config is \"awq\""]),
        (["quantization_config": "{}"], ["quantization_config is an object"]),
        (
            ["rope_scaling": "{\"rope_type\":\"linear\"}"],
            ["rope_scaling.rope_type is \"linear\"", "\"default\" or \"yarn\""]
        ),
        (["rope_scaling": "{\"factor\":2.0}"], ["rope_scaling.factor is 2.0"]),
        (
            ["rope_parameters": "{\"full_attention\":{\"rope_theta\":1}}"],
            ["rope_parameters.full_attention is an object"]
        ),
    ]

    @Test func refuses() {
        for (changes, parts) in Self.refusals {
            expectRefusal(.config, ["config.json: "] + parts, "\(changes)") { _ = try Self.config(changes) }
        }
        for (changes, parts) in Self.unsupported {
            expectRefusal(.unsupported, ["config.json: "] + parts, "\(changes)") { _ = try Self.config(changes) }
        }
        expectRefusal(.config, ["config.json: is an array of 0; expected an object"]) {
            _ = try ModelConfig(try JSON.parse([0x5B, 0x5D], file: "config.json"))
        }
    }

    @Test func survivesMutations() {
        var generator = SeededGenerator(state: 3)
        let rope = """
            {"rope_theta":6e5,"rope_type":"yarn","factor":2,"beta_fast":32,"mscale":1,"mscale_all_dim":1}
            """
        let valid = Array(Self.text(["eos_token_id": "[1, 2]", "rope_parameters": rope]).utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            let bytes = mutated(valid, using: &generator)
            do {
                let c = try ModelConfig(try JSON.parse(bytes, file: "config.json"))
                accepted += 1
                #expect(c.yarn.map { $0.attentionFactor.isFinite && $0.factor >= 1 } ?? true)
                #expect(
                    c.numAttentionHeads % c.numKeyValueHeads == 0 && c.rotaryDim % 2 == 0 && c.rotaryDim <= c.headDim)
            } catch {
                #expect([.json, .config, .unsupported].contains(error.status))
            }
        }
        #expect(accepted > 50, "\(accepted)")
    }
}
