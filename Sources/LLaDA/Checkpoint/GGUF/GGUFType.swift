import Kernels

/// A type of tensors in GGUF files. All types of the format are known, because checking a file needs their sizes; the
/// engine reads some of them.
package struct GGUFType: Sendable, Equatable {
    /// The number in a file.
    package let number: UInt32
    package let name: String
    /// The numbers of a block; a row is a whole number of blocks.
    package let numbers: Int
    /// The bytes of a block.
    package let bytes: Int

    private init(_ number: UInt32, _ name: String, _ numbers: Int, _ bytes: Int) {
        self.number = number
        self.name = name
        self.numbers = numbers
        self.bytes = bytes
    }

    static let f32 = all[0]

    /// Returns the type of this number; nil if the format has none.
    package init?(_ number: UInt32) {
        guard let type = Self.all.first(where: { $0.number == number }) else { return nil }
        self = type
    }

    package init?(named name: String) {
        guard let type = Self.all.first(where: { $0.name == name }) else { return nil }
        self = type
    }

    private static let all = [
        GGUFType(0, "F32", 1, 4), GGUFType(1, "F16", 1, 2), GGUFType(2, "Q4_0", 32, 18), GGUFType(3, "Q4_1", 32, 20),
        GGUFType(6, "Q5_0", 32, 22), GGUFType(7, "Q5_1", 32, 24), GGUFType(8, "Q8_0", 32, 34),
        GGUFType(9, "Q8_1", 32, 36), GGUFType(10, "Q2_K", 256, 84), GGUFType(11, "Q3_K", 256, 110),
        GGUFType(12, "Q4_K", 256, 144), GGUFType(13, "Q5_K", 256, 176), GGUFType(14, "Q6_K", 256, 210),
        GGUFType(15, "Q8_K", 256, 292), GGUFType(16, "IQ2_XXS", 256, 66), GGUFType(17, "IQ2_XS", 256, 74),
        GGUFType(18, "IQ3_XXS", 256, 98), GGUFType(19, "IQ1_S", 256, 50), GGUFType(20, "IQ4_NL", 32, 18),
        GGUFType(21, "IQ3_S", 256, 110), GGUFType(22, "IQ2_S", 256, 82), GGUFType(23, "IQ4_XS", 256, 136),
        GGUFType(24, "I8", 1, 1), GGUFType(25, "I16", 1, 2), GGUFType(26, "I32", 1, 4), GGUFType(27, "I64", 1, 8),
        GGUFType(28, "F64", 1, 8), GGUFType(29, "IQ1_M", 256, 56), GGUFType(30, "BF16", 1, 2),
        GGUFType(34, "TQ1_0", 256, 54), GGUFType(35, "TQ2_0", 256, 66), GGUFType(39, "MXFP4", 32, 17),
        GGUFType(40, "NVFP4", 64, 36), GGUFType(41, "Q1_0", 128, 18),
    ]

    /// The types that the engine reads, for messages.
    package static let readNames = all.filter(\.isRead).map(\.name).joined(separator: ", ")

    package var isRead: Bool { kernels != nil }

    /// The kernels' name of the type; nil if they do not decode it.
    private var kernels: llk_gguf_type? {
        let known = [
            LLK_GGUF_F32, LLK_GGUF_F16, LLK_GGUF_BF16, LLK_GGUF_Q4_0, LLK_GGUF_Q4_1, LLK_GGUF_Q5_0, LLK_GGUF_Q5_1,
            LLK_GGUF_Q8_0, LLK_GGUF_Q4_K, LLK_GGUF_Q5_K, LLK_GGUF_Q6_K,
        ]
        return known.first { $0.rawValue == number }
    }

    /// The format of the numbers if the engine computes in it; else nil.
    package var numberFormat: NumberFormat? {
        switch name {
        case "F32": .f32
        case "F16": .f16
        case "BF16": .bf16
        case "Q8_0": .q8_0
        case "Q4_0": .q4_0
        default: nil
        }
    }

    /// How a tensor of this type has its numbers.
    var encoding: Tensor.Encoding { numbers == 1 ? .plain : .blocks(self) }

    /// The bytes of a row. `width` is a multiple of `numbers`.
    package func rowBytes(_ width: Int) -> Int { width / numbers * bytes }

    /// Writes some rows of a matrix as f32.  base: [rows of the matrix] of `rowBytes(width)`;
    /// out: [rows.count, width]
    func decode(
        _ base: UnsafeRawPointer, _ rows: Range<Int>, width: Int, into out: UnsafeMutablePointer<Float>
    ) {
        guard let kernels else { return }
        llk_gguf_to_f32(kernels, base + rows.lowerBound * rowBytes(width), rows.count * (width / numbers), out)
    }
}
