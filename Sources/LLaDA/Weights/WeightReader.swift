import Kernels

/// A reader that takes tensors from a source, checks their shapes and holds them in the format that the caller names.
struct WeightReader {
    let source: any TensorSource
    let team: ThreadTeam
    /// Whether the source's matrices are packed already, except those that are wanted in rows.
    private let isPacked: Bool
    /// Whether tensors are checked and counted, and none of their numbers read. What the reader returns must not be
    /// used then.
    private let measuring: Bool
    private let arena: Arena
    private(set) var parameters = 0
    private(set) var bytes = 0
    /// All tensors taken so far.
    private(set) var held: [HeldTensor] = []

    private static var kernels: llk_kernels { llk_get(llk_best_isa()).pointee }

    init(_ source: any TensorSource, isPacked: Bool, team: ThreadTeam, measuring: Bool) {
        self.source = source
        self.team = team
        self.isPacked = isPacked
        self.measuring = measuring
        arena = Arena(team: team)
    }

    /// Reads a matrix. If it is held under a name of its own, `stored` is the tensor to read it from.
    mutating func matrix(
        _ name: String, from stored: String? = nil, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> Matrix {
        try matrices(name, from: stored ?? name, shape: [outputs, inputs], outputs: outputs, inputs: inputs, dtype)[0]
    }

    /// Reads the matrix of a router, in f32. A number in it that is not finite would change the choice of experts, and
    /// nothing else would show it.
    mutating func router(_ name: String, outputs: Int, inputs: Int) throws(LLaDAError) -> Matrix {
        let matrix = try matrix(name, outputs: outputs, inputs: inputs, .f32)
        if !measuring { try FiniteCheck(source.directory, team).check(matrix, name) }
        return matrix
    }

    /// Reads a stack of `count` matrices from one tensor: [count, outputs, inputs], as dFactory merges experts.
    mutating func stack(
        _ name: String, count: Int, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        try matrices(name, from: name, shape: [count, outputs, inputs], outputs: outputs, inputs: inputs, dtype)
    }

    mutating func vector(_ name: String, count: Int) throws(LLaDAError) -> Vector {
        let vector = try floats(name, shape: [count])
        if !measuring { try FiniteCheck(source.directory, team).check(vector, name) }
        parameters += count
        hold(name, .f32, [count], [UnsafeRawBufferPointer(start: vector.pointer, count: count * 4)])
        return Vector(vector)
    }

    private mutating func hold(
        _ name: String, _ type: SafetensorsType, _ shape: [Int], _ pieces: [UnsafeRawBufferPointer]
    ) {
        let tensor = HeldTensor(name: name, type: type, shape: shape, pieces: pieces)
        bytes += tensor.byteCount
        held.append(tensor)
    }

    private func floats(_ name: String, shape: [Int]) throws(LLaDAError) -> Buffer<Float> {
        let tensor = try source.tensor(name, shape: shape)
        let count = shape.reduce(1, *)
        let buffer = try Buffer<Float>(count: count)
        if measuring {
            _ = try storedType(tensor)
            return buffer
        }
        Self.kernels.to_f32(tensor.base, try storedType(tensor), count, buffer.pointer)
        withExtendedLifetime(tensor.owner) {}
        return buffer
    }

    /// Returns the stored type of a tensor that must not be float8: only matrices have scales for float8.
    private func storedType(_ tensor: Tensor) throws(LLaDAError) -> llk_dtype {
        guard let type = tensor.dtype?.rows else {
            throw LLaDAError(
                .unsupported,
                "\(source.directory): tensor \"\(tensor.name)\" is F8_E4M3; expected F32, F16 or BF16 here")
        }
        return type
    }

    /// Reads a table in place, whatever its type; one in float8 is decoded to bf16.
    mutating func table(_ name: String, count: Int, width: Int) throws(LLaDAError) -> Table {
        let tensor = try source.tensor(name, shape: [count, width])
        if tensor.dtype == .f8E4M3 {
            let matrix = try matrix(name, outputs: count, inputs: width, nil)
            return Table(base: matrix.base, type: LLK_BF16, width: width, owner: matrix.owner)
        }
        let type = try storedType(tensor)
        parameters += count * width
        hold(
            name, SafetensorsType(type), [count, width],
            [UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount)])
        return Table(base: tensor.base, type: type, width: width, owner: tensor.owner)
    }

    /// Reads one matrix or a stack.  shape: [outputs, inputs] or [count, outputs, inputs]
    private mutating func matrices(
        _ name: String, from stored: String, shape: [Int], outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        let matrices =
            if isPacked, let format = dtype?.packed {
                try copied(stored, shape.dropLast(2), outputs, inputs, format)
            } else {
                try made(stored, shape, outputs, inputs, dtype)
            }
        parameters += matrices.count * outputs * inputs
        // A second name for what another tensor holds takes no memory.
        if stored != name, matrices[0].base == held.first(where: { $0.name == stored })?.pieces[0].baseAddress {
            return matrices
        }
        let (type, shape): (SafetensorsType, [Int]) =
            switch matrices[0].layout {
            case .rows(let type): (SafetensorsType(type), shape)
            case .packed(let format):
                (.u8, shape.dropLast(2) + PackedFile.shape(format, outputs: outputs, inputs: inputs))
            }
        hold(name, type, shape, matrices.map(\.bytes))
        return matrices
    }

    /// Reads matrices of a packed file.  stack: [count], or [] for one matrix
    private mutating func copied(
        _ name: String, _ stack: ArraySlice<Int>, _ outputs: Int, _ inputs: Int, _ format: llk_format
    ) throws(LLaDAError) -> [Matrix] {
        let shape = stack + PackedFile.shape(format, outputs: outputs, inputs: inputs)
        let tensor = try source.bytes(name, shape: Array(shape))
        let (base, owner) = measuring ? (tensor.base, tensor.owner) : try inHugePages(tensor)
        let width = llk_packed_size(format, outputs, inputs)  // its tiles, blocks and bytes of a block, multiplied
        return (0..<stack.reduce(1, *)).map {
            Matrix(base: base + $0 * width, layout: .packed(format), outputs: outputs, inputs: inputs, owner: owner)
        }
    }

    /// Returns the bytes of a tensor in huge pages: in place if they were read, a copy if they are mapped. Without the
    /// copy, a step takes 1.07 (int8) to 1.19 times (int4) as long where the system's cache has large folios, and
    /// opening takes some tenths of a second less for each GB.
    private func inHugePages(_ tensor: Tensor) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        if !tensor.owner.isMapped { return (tensor.base, tensor.owner) }
        let (base, owner) = try arena.take(tensor.byteCount)
        let piece = 64 << 10
        team.forEach((tensor.byteCount + piece - 1) / piece) { index, _ in
            let start = index * piece
            (base + start).copyMemory(from: tensor.base + start, byteCount: min(piece, tensor.byteCount - start))
        }
        tensor.owner.release(UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount))
        return (UnsafeRawPointer(base), owner)
    }

    private mutating func made(
        _ name: String, _ shape: [Int], _ outputs: Int, _ inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        let tensor = try source.tensor(name, shape: shape)
        defer { withExtendedLifetime(tensor.owner) {} }
        // Float8 that is held "as stored" is decoded to bf16.
        let stored = tensor.dtype?.rows ?? LLK_BF16
        let size = outputs * inputs  // cannot overflow: the tensor has this many
        let count = shape.reduce(1, *) / max(size, 1)
        let layout = Matrix.Layout(dtype, stored: stored)
        let width = Matrix.byteCount(layout, outputs: outputs, inputs: inputs)
        if tensor.dtype?.rows != nil, layout == .rows(stored) {
            return (0..<count).map {
                Matrix(
                    base: tensor.base + $0 * width, layout: layout, outputs: outputs, inputs: inputs,
                    owner: tensor.owner)
            }
        }
        if measuring {
            if tensor.dtype?.rows == nil, let fp8 = source.config.blockFP8 {
                _ = try scales(of: name, shape: fp8.scales(of: shape) ?? [])
            }
            return (0..<count).map { _ in
                // Not in the tensor's own place: this would be memory of its own.
                Matrix(base: tensor.base + 1, layout: layout, outputs: outputs, inputs: inputs, owner: tensor.owner)
            }
        }
        let decoded = try tensor.dtype?.rows == nil ? FP8Decoder(tensor, shape, outputs, inputs, self) : nil
        var matrices: [Matrix] = []
        for index in 0..<count {
            let from: UnsafeRawPointer
            var type = stored
            if let decoded {
                from = decoded.matrix(index)
                type = LLK_F32
            } else {
                from = tensor.base + index * size * Matrix.width(of: stored)
            }
            let (base, owner) = try arena.take(width)
            switch layout {
            case .rows(let held): try convert(from, type, size, to: held, base)
            case .packed(let format): pack(from, type, outputs, inputs, format, base)
            }
            let matrix = Matrix(
                base: UnsafeRawPointer(base), layout: layout, outputs: outputs, inputs: inputs, owner: owner)
            try FiniteCheck(source.directory, team).check(matrix, count > 1 ? "\(name)[\(index)]" : name)
            matrices.append(matrix)
        }
        // Without this, the whole source would be in memory beside what is made of it.
        tensor.owner.release(UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount))
        return matrices
    }

    /// A decoder of float8 matrices to f32, one matrix at a time.
    private struct FP8Decoder {
        let tensor: Tensor
        let scales: Buffer<Float>
        let floats: Buffer<Float>  // [outputs, inputs]
        let outputs: Int
        let inputs: Int
        let fp8: BlockFP8

        init(_ tensor: Tensor, _ shape: [Int], _ outputs: Int, _ inputs: Int, _ reader: WeightReader) throws(LLaDAError)
        {
            guard let fp8 = reader.source.config.blockFP8 else {
                throw LLaDAError(
                    .unsupported,
                    "\(reader.source.directory): tensor \"\(tensor.name)\" is F8_E4M3, without a quantization_config")
            }
            self.tensor = tensor
            self.fp8 = fp8
            self.outputs = outputs
            self.inputs = inputs
            scales = try reader.scales(of: tensor.name, shape: fp8.scales(of: shape) ?? [])
            floats = try Buffer(count: outputs * inputs)
        }

        /// Returns matrix `index` as f32: [outputs, inputs]. The pointer is valid until the next call.
        func matrix(_ index: Int) -> UnsafeRawPointer {
            let blocks = fp8.scales(of: [outputs, inputs])?.reduce(1, *) ?? 0
            fp8.decode(
                tensor.base + index * outputs * inputs, scales.pointer + index * blocks, 0..<outputs, inputs: inputs,
                into: floats.pointer)
            return UnsafeRawPointer(floats.pointer)
        }
    }

    /// Reads the scales of a tensor in float8. DeepSeek calls them `_scale_inv`, compressed-tensors `_scale`; both are
    /// factors. Throws `.numeric` unless each is a positive finite number.
    private func scales(of name: String, shape: [Int]) throws(LLaDAError) -> Buffer<Float> {
        let usual = "\(name)_scale_inv"
        let name = !source.has(usual) && source.has("\(name)_scale") ? "\(name)_scale" : usual
        let scales: Buffer<Float>
        if let exponents = try source.exponents(name, shape: shape) {
            scales = try Buffer<Float>(count: exponents.byteCount)
            for index in 0..<exponents.byteCount {
                scales.pointer[index] = BlockFP8.scale(
                    exponent: exponents.base.load(fromByteOffset: index, as: UInt8.self))
            }
            withExtendedLifetime(exponents.owner) {}
        } else {
            scales = try floats(name, shape: shape)
        }
        if measuring { return scales }
        for index in 0..<scales.count where !(scales.pointer[index] > 0 && scales.pointer[index] < .infinity) {
            let columns = shape.last ?? 1
            throw LLaDAError(
                .numeric, file: source.directory,
                key: "tensor \"\(name)\": the scale at [\(index / columns), \(index % columns)]",
                found: "\(scales.pointer[index])", expected: "a positive finite number")
        }
        return scales
    }

    private func pack(
        _ from: UnsafeRawPointer, _ type: llk_dtype, _ outputs: Int, _ inputs: Int, _ format: llk_format,
        _ base: UnsafeMutableRawPointer
    ) {
        let kernels = llk_get_packed(llk_best_isa(), format).pointee
        let tile = Int(LLK_TILE)
        team.forEach((outputs + tile - 1) / tile) { index, _ in
            kernels.pack(from, type, outputs, inputs, index, index + 1, base)
        }
    }

    private func convert(
        _ from: UnsafeRawPointer, _ stored: llk_dtype, _ count: Int, to type: llk_dtype, _ base: UnsafeMutableRawPointer
    ) throws(LLaDAError) {
        let kernels = Self.kernels
        if type == LLK_F32 {
            kernels.to_f32(from, stored, count, base.assumingMemoryBound(to: Float.self))
            return
        }
        let piece = 4096
        let floats = try Buffer<Float>(count: piece)
        defer { withExtendedLifetime(floats) {} }
        let bf16 = base.assumingMemoryBound(to: UInt16.self)
        for start in stride(from: 0, to: count, by: piece) {
            let n = min(piece, count - start)
            kernels.to_f32(from + start * Matrix.width(of: stored), stored, n, floats.pointer)
            llk_f32_to_bf16(floats.pointer, n, bf16 + start)
        }
    }
}

extension SafetensorsType {
    init(_ type: llk_dtype) {
        switch type {
        case LLK_F16: self = .f16
        case LLK_BF16: self = .bf16
        default: self = .f32
        }
    }
}
