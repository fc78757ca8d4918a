/// The scales of float8 tensors.
extension WeightReader {
    /// Asks for the scales of a float8 tensor that is not read: they belong to the model.
    func checkScales(of tensor: Tensor) throws(LLaDAError) {
        let (name, shape, _) = try scaleTensor(of: tensor)
        if try source.exponents(name, shape: shape) == nil { _ = try source.tensor(name, shape: shape) }
    }

    /// Returns the name and the shape of the scales of a float8 tensor.
    private func scaleTensor(of tensor: Tensor) throws(LLaDAError) -> (name: String, shape: [Int], BlockFP8) {
        guard let fp8 = source.config.blockFP8, let shape = fp8.scales(of: tensor.shape) else {
            throw LLaDAError(
                .unsupported, "\(source.directory): tensor \"\(tensor.name)\" is F8_E4M3, without a quantization_config"
            )
        }
        // DeepSeek calls them `_scale_inv`, compressed-tensors `_scale`; both are factors.
        let usual = "\(tensor.name)_scale_inv"
        return (!source.has(usual) && source.has("\(tensor.name)_scale") ? "\(tensor.name)_scale" : usual, shape, fp8)
    }

    /// Returns the scales of a float8 tensor; nil for any other. Throws `.numeric` unless each is a positive finite
    /// number.
    mutating func scales(of tensor: Tensor) throws(LLaDAError) -> (BlockFP8, Buffer<Float>)? {
        if tensor.dtype != .f8E4M3 { return nil }
        let (name, shape, fp8) = try scaleTensor(of: tensor)
        let scales: Buffer<Float>
        if let exponents = try source.exponents(name, shape: shape) {
            scales = try Buffer<Float>(count: exponents.byteCount, in: budget)
            if measuring { measured.otherBytes += scales.byteCount }
            if !measuring {
                let bytes = try Buffer<UInt8>(count: exponents.byteCount)
                try exponents.read(0, into: UnsafeMutableRawBufferPointer(start: bytes.pointer, count: bytes.count))
                for index in 0..<bytes.count {
                    scales.pointer[index] = BlockFP8.scale(exponent: bytes.pointer[index])
                }
            }
        } else {
            scales = try floats(name, shape: shape)
        }
        if measuring { return (fp8, scales) }
        for index in 0..<scales.count where !(scales.pointer[index] > 0 && scales.pointer[index] < .infinity) {
            let columns = shape.last ?? 1
            throw LLaDAError(
                .numeric, file: source.directory,
                key: "tensor \"\(name)\": the scale at [\(index / columns), \(index % columns)]",
                found: "\(scales.pointer[index])", expected: "a positive finite number")
        }
        return (fp8, scales)
    }
}
