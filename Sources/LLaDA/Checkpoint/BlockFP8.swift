/// The layout of matrices in float8 (E4M3) with one scale for each block, as DeepSeek-V3 introduced it and the LLaDA2.1
/// release uses it. `name` is [outputs, inputs] of F8_E4M3, and `name_scale_inv` is
/// [ceil(outputs / rows), ceil(inputs / columns)]. A weight is its float8 times the scale of its block.
package struct BlockFP8: Sendable, Equatable {
    package let rows: Int
    package let columns: Int

    /// Reads `quantization_config`; nil if the file has none. Throws `.unsupported` for any other kind.
    init?(_ fields: ConfigFields) throws(LLaDAError) {
        guard let value = fields.value("quantization_config") else { return nil }
        guard case .object(let object) = value, case .string(let method)? = object["quant_method"] else {
            throw fields.error(
                "quantization_config", found: value.summary, expected: "an object with a quant_method", .unsupported)
        }
        guard method.string == "fp8" else {
            throw fields.error("quantization_config", found: method.quoted, expected: "\"fp8\"", .unsupported)
        }
        guard case .array(let block)? = object["weight_block_size"], block.count == 2,
            case .integer(let rows) = block[0], case .integer(let columns) = block[1], rows > 0, columns > 0
        else {
            throw fields.error(
                "quantization_config.weight_block_size", found: object["weight_block_size"]?.summary ?? "missing",
                expected: "two positive integers: scales of blocks", .unsupported)
        }
        self.rows = rows
        self.columns = columns
    }

    /// Returns the shape of the scales of a tensor of this shape.
    func scales(of shape: [Int]) -> [Int] {
        shape.dropLast(2) + [(shape[shape.count - 2] - 1) / rows + 1, (shape[shape.count - 1] - 1) / columns + 1]
    }

    /// Writes the weights as f32.  weights: [outputs, inputs];  scales: [blocks of outputs, blocks of inputs];
    /// out: [outputs, inputs]
    func decode(
        _ weights: UnsafeRawPointer, _ scales: UnsafePointer<Float>, outputs: Int, inputs: Int,
        into out: UnsafeMutablePointer<Float>
    ) {
        let blocks = (inputs - 1) / columns + 1
        for output in 0..<outputs {
            let row = output / rows * blocks
            for input in 0..<inputs {
                let bits = weights.load(fromByteOffset: output * inputs + input, as: UInt8.self)
                out[output * inputs + input] = Self.values[Int(bits)] * scales[row + input / columns]
            }
        }
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
