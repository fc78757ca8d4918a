extension ModelDescription {
    /// The description as a JSON object, in UTF-8; `llada_model_describe` in llada.h says what the keys mean.
    public var json: String {
        var text = JSONText()
        text.add("path", string: path)
        text.add("loads", loads)
        text.add("container", string: container?.rawValue)
        text.add("family", Self.json(family))
        text.add("parameters", parameters)
        text.add("stored", list: storedTypes.map(Self.json))
        text.add("config", config.map(Self.json))
        text.add("mask_token", mask.map(Self.json))
        text.add("eos_tokens", list: ends.map(Self.json))
        text.add("delete_token", delete.map(Self.json))
        text.add("split_token", split.map(Self.json))
        text.add("tokenizer", tokenizer.map(Self.json))
        text.add("chat", chatJSON)
        text.add("step_tokens", Self.stepTokens)
        text.add("expected_experts", expectedExperts)
        text.add("memory_bytes", memoryBytes)
        text.add("memory", list: memory.map(json))
        text.add("notes", strings: notes)
        text.add("problems", list: problems.map(Self.json))
        return String(decoding: text.finished(), as: UTF8.self)
    }

    private var chatJSON: JSONText? {
        guard let isKnownChatLayout else { return nil }
        var text = JSONText()
        text.add("known_layout", isKnownChatLayout)
        text.add("evidence", string: chatLayoutReason)
        return text
    }

    private static func json(_ family: ModelFamily) -> JSONText {
        var text = JSONText()
        text.add("name", string: family.name)
        text.add("evidence", string: family.evidence)
        return text
    }

    private static func json(_ problem: Problem) -> JSONText {
        var text = JSONText()
        text.add("status", Int(problem.status.rawValue))
        text.add("message", string: problem.message)
        return text
    }

    private static func json(_ type: StoredType) -> JSONText {
        var text = JSONText()
        text.add("type", string: type.name)
        text.add("tensors", type.tensors)
        text.add("bytes", type.bytes)
        return text
    }

    private static func json(_ token: SpecialToken) -> JSONText {
        var text = JSONText()
        text.add("id", Int(token.id))
        text.add("source", string: token.source)
        return text
    }

    private static func json(_ tokenizer: TokenizerSummary) -> JSONText {
        var text = JSONText()
        text.add("vocabulary_size", tokenizer.vocabularySize)
        text.add("added_tokens", tokenizer.addedTokens)
        text.add("control_tokens", tokenizer.controlTokens)
        return text
    }

    private func json(_ memory: Memory) -> JSONText {
        var text = JSONText()
        text.add("dtype", string: memory.dtype?.name ?? "auto")
        text.add("weight_bytes", memory.weightBytes)
        text.add("kv_dtype", string: memory.kvDType.name)
        text.add("kv_bytes_per_token", memory.kvBytesPerToken)
        text.add("step_bytes", memory.stepBytes)
        text.add("opening_bytes", memory.openingBytes)
        text.add("open_bytes", memory.openBytes)
        text.add("workspace_bytes", memory.workspaceBytes)
        text.add("fits", fits(memory))
        text.add("mmap_opening_bytes", memory.mappedOpeningBytes)
        text.add("mmap_open_bytes", memory.mappedOpenBytes)
        text.add("mmap_fits", fits(memory, mapped: true))
        return text
    }

    private static func json(_ config: ModelConfig) -> JSONText {
        var text = JSONText()
        text.add("vocab_size", config.vocabSize)
        text.add("hidden_size", config.hiddenSize)
        text.add("num_hidden_layers", config.numHiddenLayers)
        text.add("first_k_dense_replace", config.firstKDenseReplace)
        text.add("num_attention_heads", config.numAttentionHeads)
        text.add("num_key_value_heads", config.numKeyValueHeads)
        text.add("head_dim", config.headDim)
        text.add("intermediate_size", config.intermediateSize)
        text.add("moe_intermediate_size", config.moeIntermediateSize)
        text.add("num_experts", config.numExperts)
        text.add("num_experts_per_tok", config.numExpertsPerTok)
        text.add("num_shared_experts", config.numSharedExperts)
        text.add("expert_capacity", config.expertCapacity)
        text.add("max_position_embeddings", config.maxPositionEmbeddings)
        text.add("yarn", config.yarn != nil)
        return text
    }
}
