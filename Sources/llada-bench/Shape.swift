import Foundation
import LLaDA

/// The published sizes (spec: model.md, section 3), with as many layers as are wanted.
enum Shape: String, CaseIterable {
    case mini, flash

    private var sizes: [String: Int] {
        switch self {
        case .mini:
            ["hidden_size": 2048, "num_hidden_layers": 20, "num_attention_heads": 16, "intermediate_size": 5120, "moe_intermediate_size": 512]
        case .flash:
            ["hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 9216, "moe_intermediate_size": 1024]
        }
    }

    func config(layers: Int?) throws -> ModelConfig {
        var fields: [String: Any] = [
            "model_type": "llada2_moe", "vocab_size": 157_184, "first_k_dense_replace": 1, "num_key_value_heads": 4, "head_dim": 128,
            "num_experts": 256, "num_experts_per_tok": 8, "num_shared_experts": 1, "n_group": 8, "topk_group": 4,
            "rms_norm_eps": 1e-6, "rope_theta": 600_000, "partial_rotary_factor": 0.5, "hidden_act": "silu",
            "routed_scaling_factor": 2.5, "norm_topk_prob": true, "score_function": "sigmoid", "router_dtype": "fp32",
            "moe_router_enable_expert_bias": true, "max_position_embeddings": 65_536,
        ]
        fields.merge(sizes) { $1 }
        if let layers { fields["num_hidden_layers"] = layers }
        return try ModelConfig(try JSON.parse(Array(JSONSerialization.data(withJSONObject: fields)), file: "\(self)"))
    }
}

/// Random weights of a shape. All tensors are stretches of one random one: for timing, values matter little.
final class SyntheticTensors: TensorSource {
    let config: ModelConfig
    let directory: String
    private let file: MappedFile

    init(_ shape: Shape, layers: Int?) throws {
        config = try shape.config(layers: layers)
        directory = "synthetic \(shape)"
        // The largest tensor is the head.
        file = try Self.random(count: config.vocabSize * config.hiddenSize)
    }

    /// bf16 numbers of about a normal distribution's spread, 1 / sqrt(hidden).
    private static func random(count: Int) throws -> MappedFile {
        let path = NSTemporaryDirectory() + "llada-bench-\(UUID().uuidString)"
        defer { unlink(path) }  // the mapping stays
        var state: UInt64 = 88_172_645_463_325_252
        var values = [UInt16](repeating: 0, count: count)
        for index in values.indices {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            // Sign and mantissa at random, exponents of 2^-7 to 2^-5.
            values[index] = UInt16(truncatingIfNeeded: state) & 0x807F | UInt16(120 + state >> 32 % 3) << 7
        }
        try values.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
        return try MappedFile(path)
    }

    func has(_ name: String) -> Bool { !name.hasSuffix(".experts.gate_proj") }

    func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        guard let base = file.bytes.baseAddress else { throw LLaDAError(.io, "no random numbers") }
        let bytes = shape.reduce(2, *)
        // Different tensors begin at different places.
        let room = (file.bytes.count - bytes) / 64
        let start = room > 0 ? abs(name.hashValue) % room * 64 : 0
        return Tensor(name: name, type: .bf16, shape: shape, base: base + start, byteCount: bytes, owner: file)
    }

    var unusedTensors: [String] { [] }
}
