/// The names of tensors in GGUF files of the family, and the engine's own (spec: gguf.md, section 2).
enum GGUFNames {
    private static let top = [
        "token_embd.weight": "model.word_embeddings.weight", "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    ]

    /// The names within a layer.
    private static let layer = [
        "attn_norm.weight": "input_layernorm.weight", "ffn_norm.weight": "post_attention_layernorm.weight",
        "attn_qkv.weight": "attention.query_key_value.weight",
        "attn_q_norm.weight": "attention.query_layernorm.weight",
        "attn_k_norm.weight": "attention.key_layernorm.weight", "attn_output.weight": "attention.dense.weight",
        "ffn_gate.weight": "mlp.gate_proj.weight", "ffn_up.weight": "mlp.up_proj.weight",
        "ffn_down.weight": "mlp.down_proj.weight", "ffn_gate_inp.weight": "mlp.gate.weight",
        "exp_probs_b.bias": "mlp.gate.expert_bias", "ffn_gate_exps.weight": "mlp.experts.gate_proj",
        "ffn_up_exps.weight": "mlp.experts.up_proj", "ffn_down_exps.weight": "mlp.experts.down_proj",
        "ffn_gate_shexp.weight": "mlp.shared_experts.gate_proj.weight",
        "ffn_up_shexp.weight": "mlp.shared_experts.up_proj.weight",
        "ffn_down_shexp.weight": "mlp.shared_experts.down_proj.weight",
    ]

    /// The parts of `attention.query_key_value`, in their order.
    private static let parts = ["attn_q.weight", "attn_k.weight", "attn_v.weight"]

    static let partCount = parts.count

    /// Returns the place of the tensor; nil if the name is none of the model's. `part` is nil for a whole tensor.
    static func place(_ name: String) -> (name: String, part: Int?)? {
        if let known = top[name] { return (known, nil) }
        let pieces = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard pieces.count == 3, pieces[0] == "blk", let number = Int(pieces[1]), "\(number)" == pieces[1] else {
            return nil
        }
        let prefix = "model.layers.\(number)."
        let rest = String(pieces[2])
        if let part = parts.firstIndex(of: rest) { return (prefix + "attention.query_key_value.weight", part) }
        return layer[rest].map { (prefix + $0, nil) }
    }
}
