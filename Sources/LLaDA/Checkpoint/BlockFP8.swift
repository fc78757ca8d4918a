/// The layout of matrices in float8 (E4M3) with scales, as DeepSeek-V3 introduced it, the LLaDA2.1 release uses it, and
/// compressed-tensors writes it. `name` is [outputs, inputs] of F8_E4M3, and `name_scale_inv`, or `name_scale`, is
/// [ceil(outputs / rows), ceil(inputs / columns)], or [1] where the matrix is one block. A weight is its float8 times
/// the scale of its block.
package struct BlockFP8: Sendable, Equatable {
    /// The outputs of a block; `Int.max` if the matrix has one scale.
    package let rows: Int
    /// The inputs of a block; `Int.max` if each output, or the matrix, has one scale.
    package let columns: Int

    /// Reads `quantization_config`; nil if the file has none. Throws `.unsupported` for any other kind.
    init?(_ fields: ConfigFields) throws(LLaDAError) {
        guard let quantization = try fields.nested("quantization_config") else { return nil }
        switch try quantization.string("quant_method") {
        case "fp8":
            (rows, columns) = try Self.block(quantization, "weight_block_size")
        case "compressed-tensors":
            (rows, columns) = try Self.compressedTensors(quantization)
        case let method:
            throw fields.error(
                "quantization_config", found: method?.quoted ?? "an object without a quant_method",
                expected: "\"fp8\" or \"compressed-tensors\"", .unsupported)
        }
    }

    /// Reads the numbers of rows and columns of a block.
    private static func block(_ fields: ConfigFields, _ key: JSONString) throws(LLaDAError) -> (rows: Int, columns: Int)
    {
        guard case .array(let values)? = fields.value(key), values.count == 2,
            let sizes = try fields.integers(key, in: 1...1_048_576)
        else {
            throw fields.error(
                key, found: fields.object[key]?.summary ?? "missing",
                expected: "two positive integers: scales of blocks", .unsupported)
        }
        return (sizes[0], sizes[1])
    }

    /// Reads the one layout that all groups of matrices must have.
    private static func compressedTensors(_ fields: ConfigFields) throws(LLaDAError) -> (rows: Int, columns: Int) {
        var layout: (rows: Int, columns: Int)?
        guard let groups = try fields.nested("config_groups") else {
            throw fields.error("config_groups", found: "missing", expected: "an object of groups", .unsupported)
        }
        for (name, group) in groups.object.members {
            guard let weights = try groups.nested(name, group)?.nested("weights") else { continue }
            let bits = try weights.integer("num_bits", in: 1...64)
            if bits != 8 {
                throw weights.error("num_bits", found: bits.map { "\($0)" } ?? "missing", expected: "8", .unsupported)
            }
            try weights.require("type", oneOf: ["float"])
            try weights.require("strategy", oneOf: ["block", "channel", "tensor"])
            let here =
                switch try weights.string("strategy") {
                case "tensor": (Int.max, Int.max)
                case "channel": (1, Int.max)
                default: try block(weights, "block_structure")
                }
            if let layout, layout != here {
                throw weights.error(
                    "block_structure", found: "that of other blocks", expected: "one layout for all groups",
                    .unsupported)
            }
            layout = here
        }
        guard let layout else {
            throw fields.error("config_groups", found: "without weights", expected: "weights in float8", .unsupported)
        }
        return layout
    }

    /// Returns the shape of the scales of a stack of matrices of this shape; nil if it is no matrix.
    package func scales(of shape: [Int]) -> [Int]? {
        guard shape.count >= 2, let inputs = shape.last else { return nil }
        if rows == .max, shape.count == 2 { return [1] }
        return shape.dropLast(2) + [(shape[shape.count - 2] - 1) / rows + 1, (inputs - 1) / columns + 1]
    }

    /// Writes some outputs of a matrix as f32.  weights: [outputs.count, inputs];
    /// scales: [blocks of outputs, blocks of inputs];  out: [outputs.count, inputs]
    package func decode(
        _ weights: UnsafeRawPointer, _ scales: UnsafePointer<Float>, _ outputs: Range<Int>, inputs: Int,
        into out: UnsafeMutablePointer<Float>
    ) {
        let blocks = (inputs - 1) / columns + 1
        Self.values.withUnsafeBufferPointer { values in
            for output in outputs {
                let codes = weights + (output - outputs.lowerBound) * inputs
                let row = out + (output - outputs.lowerBound) * inputs
                for block in 0..<blocks {
                    let scale = scales[output / rows * blocks + block]
                    let start = block * columns  // the last block begins within the row, so this cannot overflow
                    for input in start..<start + min(columns, inputs - start) {
                        row[input] = values[Int(codes.load(fromByteOffset: input, as: UInt8.self))] * scale
                    }
                }
            }
        }
    }

    /// The value of an F8_E8M0 scale: a power of two, without a sign; all ones is NaN.
    package static func scale(exponent bits: UInt8) -> Float {
        // 2^-127 is below the normal numbers.
        bits == 255 ? .nan : bits == 0 ? 0x1p-127 : Float(bitPattern: UInt32(bits) << 23)
    }

    /// The value of each byte as E4M3 "FN": a sign, 4 bits of exponent (bias 7), 3 bits of mantissa. The format has no
    /// infinities, and all ones is NaN.
    private static let values: [Float] = (0..<256).map { bits in
        let (exponent, mantissa) = (bits >> 3 & 15, bits & 7)
        if exponent == 15, mantissa == 7 { return .nan }
        let magnitude =
            exponent == 0
            ? Float(mantissa) / 512 : Float(sign: .plus, exponent: exponent - 7, significand: 1 + Float(mantissa) / 8)
        return bits < 128 ? magnitude : -magnitude
    }
}
