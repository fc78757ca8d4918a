import LLaDA
import TestSupport

/// The bytes of a GGUF file in the making, by the format's own description. Nothing is checked: tests make what they
/// like.
struct GGUFBytes {
    var version: UInt32 = 3
    var tensorCount: UInt64?
    var pairCount: UInt64?
    private var pairs: [[UInt8]] = []
    private var tensors: [[UInt8]] = []
    private var data: [UInt8] = []
    let alignment = 32

    static func number<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }

    static func string(_ text: String, length: UInt64? = nil) -> [UInt8] {
        number(length ?? UInt64(text.utf8.count)) + Array(text.utf8)
    }

    mutating func add(_ key: String, type: UInt32, _ value: [UInt8]) {
        pairs.append(Self.string(key) + Self.number(type) + value)
    }

    mutating func add(_ key: String, _ value: UInt32) { add(key, type: 4, Self.number(value)) }
    mutating func add(_ key: String, float value: Float) { add(key, type: 6, Self.number(value.bitPattern)) }
    mutating func add(_ key: String, _ value: String) { add(key, type: 8, Self.string(value)) }

    mutating func add(_ key: String, elements type: UInt32, count: UInt64, _ values: [UInt8]) {
        add(key, type: 9, Self.number(type) + Self.number(count) + values)
    }

    mutating func add(_ key: String, _ values: [String]) {
        add(key, elements: 8, count: UInt64(values.count), values.flatMap { Self.string($0) })
    }

    /// Adds a tensor. `dimensions` are in the file's order, innermost first.
    mutating func add(
        tensor name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64? = nil, bytes: [UInt8]
    ) {
        tensors.append(
            Self.string(name) + Self.number(UInt32(dimensions.count)) + dimensions.flatMap { Self.number($0) }
                + Self.number(type) + Self.number(offset ?? UInt64(data.count)))
        data += bytes
        data += [UInt8](repeating: 0, count: (alignment - data.count % alignment) % alignment)
    }

    /// The header, without the padding behind it.
    var header: [UInt8] {
        Array("GGUF".utf8) + Self.number(version) + Self.number(tensorCount ?? UInt64(tensors.count))
            + Self.number(pairCount ?? UInt64(pairs.count)) + pairs.joined() + tensors.joined()
    }

    var bytes: [UInt8] {
        let header = header
        return header + [UInt8](repeating: 0, count: (alignment - header.count % alignment) % alignment) + data
    }
}

func readGGUF(_ bytes: [UInt8]) throws -> GGUF {
    let folder = try TemporaryFolder()
    return try GGUF(try InputFile(try folder.write("m.gguf", bytes)), name: "m.gguf")
}

extension GGUFBytes {
    /// A whole model of one dense layer and one of experts, with a vocabulary of bytes.
    static func model() -> GGUFBytes {
        var file = GGUFBytes()
        file.add("general.architecture", "llada2")
        let sizes: [(String, UInt32)] = [
            ("block_count", 2), ("context_length", 512), ("embedding_length", 32), ("feed_forward_length", 32),
            ("attention.head_count", 2), ("attention.head_count_kv", 1), ("attention.key_length", 16),
            ("attention.value_length", 16), ("rope.dimension_count", 8), ("vocab_size", 264),
            ("leading_dense_block_count", 1), ("expert_count", 4), ("expert_used_count", 2),
            ("expert_shared_count", 1), ("expert_feed_forward_length", 32), ("expert_gating_func", 2),
            ("expert_group_count", 2), ("expert_group_used_count", 1),
        ]
        for (key, value) in sizes { file.add("llada2.\(key)", value) }
        file.add("llada2.attention.layer_norm_rms_epsilon", float: 1e-6)
        file.add("llada2.rope.freq_base", float: 10_000)
        file.add("llada2.expert_weights_scale", float: 2.5)
        file.add("tokenizer.ggml.model", "gpt2")
        file.add("tokenizer.ggml.pre", "bailingmoe2")
        // The printable bytes stand for themselves, and the others for the characters from U+0100 on.
        let printable = Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF)
        let alphabet = (printable + Array(0x100..<0x100 + 256 - printable.count)).compactMap { UnicodeScalar($0) }
        let tokens = alphabet.map { String(Character($0)) } + ["ab", "<|endoftext|>", "<|mask|>"]
        file.add("tokenizer.ggml.tokens", tokens)
        let kinds = [Int32](repeating: 1, count: 257) + [3, 4]
        file.add(
            "tokenizer.ggml.token_type", elements: 5, count: UInt64(kinds.count), kinds.flatMap { Self.number($0) })
        file.add("tokenizer.ggml.merges", ["a b"])
        file.add("tokenizer.ggml.eos_token_id", 257)
        file.add("tokenizer.ggml.mask_token_id", 258)

        func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
        func floats(_ count: UInt64) -> [UInt8] { zeros(4 * Int(count)) }
        func blocks(_ dimensions: [UInt64]) -> [UInt8] { zeros(Int(dimensions.reduce(1, *)) / 32 * 18) }
        var matrices: [(String, [UInt64])] = [("token_embd", [32, 264]), ("output", [32, 264])]
        file.add(tensor: "output_norm.weight", [32], bytes: floats(32))
        for layer in 0..<2 {
            let prefix = "blk.\(layer)."
            for name in ["attn_norm", "ffn_norm"] {
                file.add(tensor: "\(prefix)\(name).weight", [32], bytes: floats(32))
            }
            for name in ["attn_q_norm", "attn_k_norm"] {
                file.add(tensor: "\(prefix)\(name).weight", [16], bytes: floats(16))
            }
            matrices += [("\(prefix)attn_output", [32, 32])]
            if layer == 0 {
                matrices += [("\(prefix)attn_qkv", [32, 64])]
                matrices += ["gate", "up", "down"].map { ("\(prefix)ffn_\($0)", [32, 32]) }
            } else {
                matrices += [
                    ("\(prefix)attn_q", [32, 32]), ("\(prefix)attn_k", [32, 16]), ("\(prefix)attn_v", [32, 16]),
                ]
                matrices += ["gate", "up", "down"].map { ("\(prefix)ffn_\($0)_exps", [32, 32, 4]) }
                matrices += ["gate", "up", "down"].map { ("\(prefix)ffn_\($0)_shexp", [32, 32]) }
                file.add(tensor: "\(prefix)ffn_gate_inp.weight", [32, 4], bytes: floats(128))
                file.add(tensor: "\(prefix)exp_probs_b.bias", [4], bytes: floats(4))
            }
        }
        for (name, dimensions) in matrices {
            file.add(tensor: "\(name).weight", dimensions, type: 2, bytes: blocks(dimensions))
        }
        return file
    }
}
