/// The names of a model's tensors (spec: model.md, section 2).
enum TensorNames {
    private static let wrappers: [JSONString] = ["module.", "_orig_mod.", "model.", "language_model."]
    private static let parts: [JSONString] = ["layers.", "norm.", "word_embeddings."]
    private static let head: JSONString = "lm_head."

    /// Returns the name of section 2 for a name as wrappers of the model write it: `module.` of parallel training,
    /// `language_model.` of a multimodal model, or nothing in front where `model.` belongs. Any other name stays.
    static func canonical(_ name: JSONString) -> JSONString {
        var rest = name
        while let wrapper = wrappers.first(where: { rest.hasPrefix($0) }) { rest = rest.dropFirst(wrapper.count) }
        if rest.hasPrefix(head) { return rest }
        guard parts.contains(where: { rest.hasPrefix($0) }) else { return name }
        // Nearly all names have the right prefix.
        let model: JSONString = "model."
        if name.hasPrefix(model), name.count == model.count + rest.count { return name }
        return JSONString(model.bytes + rest.bytes)
    }

    /// Returns the layer that a tensor belongs to; nil if it belongs to none.
    static func layer(of name: JSONString) -> Int? {
        let prefix: JSONString = "model.layers."
        guard name.hasPrefix(prefix) else { return nil }
        return name.withBytes { name in
            let digits = name.dropFirst(prefix.count).prefix { $0 != UInt8(ascii: ".") }
            guard 1...9 ~= digits.count, digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else {
                return nil
            }
            return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        }
    }

    /// Whether a model of `layers` layers may need a tensor of this canonical name.
    static func isOfModel(_ name: JSONString, layers: Int) -> Bool {
        if let layer = layer(of: name) { return layer < layers && Surplus(name, type: nil) == nil }
        let prefixes: [JSONString] = ["model.norm.", "model.word_embeddings.", "lm_head."]
        return prefixes.contains { name.hasPrefix($0) }
    }
}

/// A kind of tensors that files have and that take no part in decoding: they are left out by name.
package enum Surplus: CaseIterable {
    /// Layers that predict several tokens at once, an addition to autoregressive models.
    case multiTokenPrediction
    /// Scales for activations, keys and values in float8, in which nothing is computed here.
    case activationScale
    /// The head of a model whose head is its embedding.
    case tiedHead
    /// The head of a value function, from training by reinforcement.
    case valueHead
    /// Frequencies of the rotary embedding, which follow from the config, and buffers of integers.
    case buffer

    /// What messages call tensors of this kind.
    var name: String {
        switch self {
        case .multiTokenPrediction: "multi-token prediction"
        case .activationScale: "scales of activations, keys and values"
        case .tiedHead: "tie_word_embeddings is true"
        case .valueHead: "a value head"
        case .buffer: "buffers that follow from the config"
        }
    }

    /// The longest names of these kinds, in bytes.
    private static let longestName = 1024

    /// The parts of a layer that only multi-token prediction has.
    private static let predictionParts = ["eh_proj", "enorm", "hnorm", "shared_head", "final_layernorm"]

    /// Returns the kind of a tensor that nobody has asked for, by its canonical name and type; nil if it is none of
    /// these. Layers beyond the model's, and a tied head, are not judged here.
    init?(_ name: JSONString, type: SafetensorsType?) {
        if name.count > Self.longestName { return nil }
        let words = name.string.split(separator: ".")
        guard let last = words.last else { return nil }
        if words.contains("mtp") {
            self = .multiTokenPrediction
        } else if ["k_scale", "v_scale", "q_scale", "kv_scale", "input_scale", "activation_scale"].contains(last) {
            self = .activationScale
        } else if words[0] == "v_head" || words.count > 1 && words[1] == "v_head" && words[0] == "model" {
            self = .valueHead
        } else if last == "inv_freq" || type == .i64 || type == .i32 || type == .bool {
            self = .buffer
        } else {
            return nil
        }
    }

    /// Whether this is a tensor that only a layer of multi-token prediction has.
    static func marksPrediction(_ name: JSONString) -> Bool {
        name.count <= longestName
            && name.string.split(separator: ".").contains { predictionParts.contains(String($0)) }
    }

    /// A sentence about tensors that were left out.
    static func note(_ names: NameSample, of what: String) -> String {
        let (tensors, shown) = names.phrases
        return "left out \(tensors) (\(what)): \(shown)"
    }
}
