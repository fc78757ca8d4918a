extension ModelDescription {
    /// The description as a JSON object, in UTF-8; `llada_model_describe` in llada.h says what the keys mean.
    public var json: String {
        let value = object([
            ("path", text(path)), ("loads", .bool(loads)),
            ("container", container.map { text($0.rawValue) } ?? .null),
            ("family", object([("name", family.name.map(text) ?? .null), ("evidence", text(family.evidence))])),
            ("parameters", parameters.map(JSON.integer) ?? .null),
            ("stored", .array(storedTypes.map(Self.json))),
            ("config", config.map(Self.json) ?? .null),
            ("mask_token", mask.map(Self.json) ?? .null), ("eos_tokens", .array(ends.map(Self.json))),
            ("delete_token", delete.map(Self.json) ?? .null), ("split_token", split.map(Self.json) ?? .null),
            ("tokenizer", tokenizer.map(Self.json) ?? .null),
            (
                "chat",
                isKnownChatLayout.map {
                    object([("known_layout", .bool($0)), ("evidence", chatLayoutReason.map(text) ?? .null)])
                } ?? .null
            ),
            ("step_tokens", .integer(Self.stepTokens)),
            ("expected_experts", expectedExperts.map(JSON.double) ?? .null),
            ("memory", .array(memory.map(Self.json))),
            ("notes", .array(notes.map(text))),
            (
                "problems",
                .array(
                    problems.map {
                        object([("status", .integer(Int($0.status.rawValue))), ("message", text($0.message))])
                    })
            ),
        ])
        return String(decoding: value.pythonText, as: UTF8.self)
    }

    private static func json(_ type: StoredType) -> JSON {
        object([("type", text(type.name)), ("tensors", .integer(type.tensors)), ("bytes", .integer(type.bytes))])
    }

    private static func json(_ token: SpecialToken) -> JSON {
        object([("id", .integer(Int(token.id))), ("source", text(token.source))])
    }

    private static func json(_ tokenizer: TokenizerSummary) -> JSON {
        object([
            ("vocabulary_size", .integer(tokenizer.vocabularySize)), ("added_tokens", .integer(tokenizer.addedTokens)),
            ("control_tokens", .integer(tokenizer.controlTokens)),
        ])
    }

    private static func json(_ memory: Memory) -> JSON {
        object([
            ("dtype", text(memory.dtype?.name ?? "auto")), ("weight_bytes", .integer(memory.weightBytes)),
            ("kv_dtype", text(memory.kvDType.name)), ("kv_bytes_per_token", .integer(memory.kvBytesPerToken)),
            ("step_bytes", .integer(memory.stepBytes)),
        ])
    }

    private static func json(_ config: ModelConfig) -> JSON {
        object([
            ("vocab_size", .integer(config.vocabSize)), ("hidden_size", .integer(config.hiddenSize)),
            ("num_hidden_layers", .integer(config.numHiddenLayers)),
            ("first_k_dense_replace", .integer(config.firstKDenseReplace)),
            ("num_attention_heads", .integer(config.numAttentionHeads)),
            ("num_key_value_heads", .integer(config.numKeyValueHeads)), ("head_dim", .integer(config.headDim)),
            ("intermediate_size", .integer(config.intermediateSize)),
            ("moe_intermediate_size", .integer(config.moeIntermediateSize)),
            ("num_experts", .integer(config.numExperts)),
            ("num_experts_per_tok", .integer(config.numExpertsPerTok)),
            ("num_shared_experts", .integer(config.numSharedExperts)),
            ("expert_capacity", .integer(config.expertCapacity)),
            ("max_position_embeddings", .integer(config.maxPositionEmbeddings)), ("yarn", .bool(config.yarn != nil)),
        ])
    }

    private static func text(_ string: String) -> JSON { .string(JSONString(string)) }

    /// Returns an object with these members; no key is there twice.
    private static func object(_ members: [(JSONString, JSON)]) -> JSON {
        var object = JSONObject()
        for (key, value) in members { _ = object.append(key, value) }
        return .object(object)
    }

    private func text(_ string: String) -> JSON { Self.text(string) }
    private func object(_ members: [(JSONString, JSON)]) -> JSON { Self.object(members) }
}
