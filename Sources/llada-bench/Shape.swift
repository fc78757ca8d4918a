import Foundation
import LLaDA

/// The published sizes (spec: model.md, section 3), with any number of layers.
enum Shape: String, CaseIterable {
    case mini, flash

    private var sizes: [String: Int] {
        switch self {
        case .mini:
            [
                "hidden_size": 2048, "num_hidden_layers": 20, "num_attention_heads": 16, "intermediate_size": 5120,
                "moe_intermediate_size": 512,
            ]
        case .flash:
            [
                "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 9216,
                "moe_intermediate_size": 1024,
            ]
        }
    }

    func config(layers: Int?) throws -> ModelConfig {
        var fields: [String: Any] = [
            "model_type": "llada2_moe", "vocab_size": 157_184, "first_k_dense_replace": 1, "num_key_value_heads": 4,
            "head_dim": 128,
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

/// Random weights of a shape. Matrices are parts of one random tensor. Norms are ones, and biases are zeros. What is
/// added to the residual is small, so that rows stay different and spread over the experts as those of a trained model
/// do.
final class SyntheticTensors: TensorSource {
    let config: ModelConfig
    let directory: String
    let sideFiles = SideFiles()
    private let file: InputFile

    init(_ shape: Shape, layers: Int?) throws {
        config = try shape.config(layers: layers)
        directory = "synthetic \(shape)"
        // The largest tensors are the embedding and the head. They must differ, or tokens would predict themselves. The
        // largest tensor that writes to the residual is the dense layer's down projection.
        random = (config.vocabSize + config.hiddenSize) * config.hiddenSize
        small = config.intermediateSize * config.hiddenSize
        file = try Self.file(random: random, small: small)
    }

    // The counts of the file's numbers of each kind, in this order.
    private let random: Int
    private let small: Int
    private static let constants = 1 << 16  // ones, and zeros

    /// Writes and opens a file of bf16: numbers with a spread of about 1 / sqrt(hidden), numbers with a 64th of that,
    /// ones, and zeros.
    private static func file(random: Int, small: Int) throws -> InputFile {
        let path = NSTemporaryDirectory() + "llada-bench-\(UUID().uuidString)"
        defer { unlink(path) }  // the open file stays valid
        var state: UInt64 = 88_172_645_463_325_252
        let count = random + small
        var values = [UInt16](repeating: 0, count: count + 2 * constants)
        for index in count..<count + constants { values[index] = 0x3F80 }
        for index in 0..<count {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            // Sign and mantissa are random, and the exponent is one of three.
            let exponent = (index < random ? 120 : 114) + (state >> 32) % 3
            values[index] = UInt16(truncatingIfNeeded: state) & 0x807F | UInt16(exponent) << 7
        }
        try values.withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: path)) }
        return try InputFile(path)
    }

    var metadata: [(key: JSONString, value: JSONString)] { [] }
    var byteCount: Int { file.size }
    var memory: SourceMemory { SourceMemory(smallBytes: 0, headerBytes: 0) }

    func bytes(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        throw LLaDAError(.tensor, "\(directory): there are no bytes in random weights")
    }

    func has(_ name: String) -> Bool { !name.hasSuffix(".experts.gate_proj") }

    func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        let bytes = shape.reduce(2, *)
        // Different tensors begin at different places, which are the same in every process.
        let hash = name.utf8.reduce(14_695_981_039_346_656_037 as UInt64) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        func place(_ room: Int) -> Int { Int(hash % UInt64((2 * room - bytes) / 64 + 1)) * 64 }
        let start =
            if name.hasSuffix("norm.weight") { 2 * (random + small) } else if name.hasSuffix("bias") {
                2 * (random + small + Self.constants)
            } else if name.hasSuffix("dense.weight") || name.hasSuffix("down_proj.weight") {
                2 * random + place(small)
            } else { place(random) }
        return Tensor(name: name, dtype: .bf16, shape: shape, places: [.init(file, start..<start + bytes)])
    }

    var unusedTensor: String? { nil }
}
