import Kernels

/// A reader that takes tensors from a source, checks their shapes and holds them in the format that the caller names.
struct WeightReader {
    let source: any TensorSource
    let team: ThreadTeam
    /// What a packed source says of its matrices; nil for any other source.
    private let packed: PackedFile?
    /// Whether tensors are checked and counted, and none of their numbers read. What the reader returns must not be
    /// used then.
    private let measuring: Bool
    private let progress: Progress?
    /// The bytes of the source, and those of them that have been read.
    private let total: Int
    private var done = 0
    /// How many bytes of the source are read between two calls of `progress`.
    private static let piece = 16 << 20
    private let arena: Arena
    /// Room for the numbers of a tile of a matrix, for each thread.
    private var tileFloats = Scratch<Float>()
    private let tile = Int(LLK_TILE)
    private(set) var parameters = 0
    private(set) var bytes = 0
    /// The numbers of parameters of matrices that are held in each packed format; nil: in rows.
    private var parametersOf: [NumberFormat?: Int] = [:]
    /// All tensors taken so far.
    private(set) var held: [HeldTensor] = []

    private static var kernels: llk_kernels { llk_get(llk_best_isa()).pointee }

    /// `progress` receives the part of the source that has been read. An error that it throws ends the call that is
    /// reading, and is rethrown.
    init(
        _ source: any TensorSource, _ packed: PackedFile?, team: ThreadTeam, measuring: Bool, progress: Progress?
    ) {
        self.source = source
        self.team = team
        self.packed = packed
        self.measuring = measuring
        self.progress = progress
        total = max(1, source.byteCount)
        arena = Arena(team: team)
    }

    /// The packed format in which most parameters of matrices are held; nil if most are held in rows, as stored.
    var mainFormat: NumberFormat? {
        let rows = parametersOf[nil, default: 0]
        let most = NumberFormat.allCases.max { parametersOf[$0, default: 0] < parametersOf[$1, default: 0] }
        return most.flatMap { parametersOf[$0, default: 0] > rows ? $0 : nil }
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
        _ name: String, _ type: SafetensorsType, _ shape: [Int], _ pieces: [UnsafeRawBufferPointer],
        format: String? = nil
    ) {
        let tensor = HeldTensor(name: name, type: type, shape: shape, pieces: pieces, format: format)
        bytes += tensor.byteCount
        held.append(tensor)
    }

    private func floats(_ name: String, shape: [Int]) throws(LLaDAError) -> Buffer<Float> {
        let tensor = try source.tensor(name, shape: shape)
        let count = shape.reduce(1, *)
        let buffer = try Buffer<Float>(count: count)
        if measuring {
            if case .plain = tensor.encoding { _ = try storedType(tensor) }
            return buffer
        }
        if case .plain = tensor.encoding {
            Self.kernels.to_f32(tensor.base, try storedType(tensor), count, buffer.pointer)
        } else {
            tensor.decode(0..<shape.dropLast().reduce(1, *), into: buffer.pointer)
        }
        withExtendedLifetime(tensor.owner) {}
        return buffer
    }

    /// Returns the stored type of a tensor that must not be float8: only matrices of layers have scales for float8.
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
        let tensor = try tableTensor(name, count: count, width: width)
        if tensor.dtype == .f8E4M3 {
            let matrix = try made(name, [count, width], count, width, nil)[0]
            parameters += count * width
            hold(name, .bf16, [count, width], [matrix.bytes])
            return Table(base: matrix.base, type: LLK_BF16, width: width, owner: matrix.owner)
        }
        parameters += count * width
        let bytes = UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount)
        if case .blocks(let type) = tensor.encoding {
            hold(name, .u8, [count, type.rowBytes(width)], [bytes], format: type.name)
            return Table(blocks: tensor)
        }
        let type = try storedType(tensor)
        hold(name, SafetensorsType(type), [count, width], [bytes])
        return Table(base: tensor.base, type: type, width: width, owner: tensor.owner)
    }

    /// Finds a table, in a packed file perhaps as the blocks of a GGUF file.
    private func tableTensor(_ name: String, count: Int, width: Int) throws(LLaDAError) -> Tensor {
        guard let packed, let format = packed.formats[name] else {
            return try source.tensor(name, shape: [count, width])
        }
        guard let type = GGUFType(named: format), type.isRead, width % type.numbers == 0 else {
            throw packed.error("formats", "\(name)=\(format)", expected: "a type that \(width) numbers can have")
        }
        let bytes = try source.bytes(name, shape: [count, type.rowBytes(width)])
        return Tensor(
            name: name, dtype: type.numberFormat, encoding: .blocks(type), shape: [count, width], base: bytes.base,
            byteCount: bytes.byteCount, owner: bytes.owner)
    }

    /// Reads one matrix or a stack.  shape: [outputs, inputs] or [count, outputs, inputs]
    private mutating func matrices(
        _ name: String, from stored: String, shape: [Int], outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        let named = try packed?.layout(of: name)
        let matrices: [Matrix]
        if let packed, case .packed(let format) = named ?? packed.layout(dtype) {
            matrices = try copied(stored, shape.dropLast(2), outputs, inputs, format)
        } else {
            matrices = try made(stored, shape, outputs, inputs, named == nil ? dtype : nil)
        }
        let layout = matrices[0].layout
        parameters += matrices.count * outputs * inputs
        parametersOf[layout.packed, default: 0] += matrices.count * outputs * inputs
        // A second name for what another tensor holds takes no memory.
        if stored != name, matrices[0].base == held.first(where: { $0.name == stored })?.pieces[0].baseAddress {
            return matrices
        }
        let (type, shape): (SafetensorsType, [Int]) =
            switch layout {
            case .rows(let type): (SafetensorsType(type), shape)
            case .packed(let format):
                (.u8, shape.dropLast(2) + PackedFile.shape(format, outputs: outputs, inputs: inputs))
            }
        let isByRule = dtype != nil && named == nil
        hold(name, type, shape, matrices.map(\.bytes), format: isByRule ? nil : layout.name)
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
    private mutating func inHugePages(_ tensor: Tensor) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        if !tensor.owner.isMapped { return (tensor.base, tensor.owner) }
        let (base, owner) = try arena.take(tensor.byteCount)
        let piece = 64 << 10
        try forEach((tensor.byteCount + piece - 1) / piece, of: tensor) { index, _ in
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
        let count = shape.dropLast(2).reduce(1, *)
        let layout = Matrix.Layout(dtype, stored: tensor)
        let width = Matrix.byteCount(layout, outputs: outputs, inputs: inputs)
        if let type = tensor.dtype?.rows, layout == .rows(type) {
            return (0..<count).map {
                Matrix(
                    base: tensor.base + $0 * width, layout: layout, outputs: outputs, inputs: inputs,
                    owner: tensor.owner)
            }
        }
        if measuring {
            _ = try scales(of: tensor)
            return (0..<count).map { _ in
                // Not in the tensor's own place: this would be memory of its own.
                Matrix(base: tensor.base + 1, layout: layout, outputs: outputs, inputs: inputs, owner: tensor.owner)
            }
        }
        let rows = try StoredRows(tensor, inputs: inputs, outputs: outputs, scales: scales(of: tensor))
        var places: [(base: UnsafeMutableRawPointer, owner: AnyObject)] = []
        for _ in 0..<count { places.append(try arena.take(width)) }
        let bases = places.map(\.base)
        let floats = try tileFloats.reserve(team.size * tile * inputs)  // [threads, tile, inputs]
        let tiles = (outputs + tile - 1) / tile
        let (tile, kernels) = (tile, Self.kernels)
        try forEach(count * tiles, of: tensor) { index, worker in
            let (matrix, first) = (index / tiles, index % tiles * tile)
            let numbers = floats + worker * tile * inputs
            let outputs = first..<min(first + tile, outputs)
            rows.hold(outputs, of: matrix, as: layout, numbers, kernels, at: bases[matrix])
        }
        let matrices = places.map {
            Matrix(
                base: UnsafeRawPointer($0.base), layout: layout, outputs: outputs, inputs: inputs, owner: $0.owner)
        }
        for (index, matrix) in matrices.enumerated() {
            try FiniteCheck(source.directory, team).check(matrix, count > 1 ? "\(name)[\(index)]" : name)
        }
        // Without this, the whole source would be in memory beside what is made of it.
        tensor.owner.release(UnsafeRawBufferPointer(start: tensor.base, count: tensor.byteCount))
        return matrices
    }

    /// Runs `body` for each of `count` equal parts of a tensor on all threads, and reports progress on the way.
    private mutating func forEach(_ count: Int, of tensor: Tensor, _ body: ThreadTeam.Body) throws(LLaDAError) {
        let atOnce = max(1, count / (tensor.byteCount / Self.piece + 1))
        for first in stride(from: 0, to: count, by: atOnce) {
            let last = min(first + atOnce, count)
            team.forEach(last - first) { index, worker in body(first + index, worker) }
            let read = done + Int(Double(tensor.byteCount) * Double(last) / Double(count))
            try progress?(min(1, Double(read) / Double(total)))
        }
        done += tensor.byteCount
    }

    // MARK: Float8

    /// Returns the scales of a float8 tensor; nil for any other. Throws `.numeric` unless each is a positive finite
    /// number.
    private func scales(of tensor: Tensor) throws(LLaDAError) -> (BlockFP8, Buffer<Float>)? {
        if tensor.dtype != .f8E4M3 { return nil }
        guard let fp8 = source.config.blockFP8, let shape = fp8.scales(of: tensor.shape) else {
            throw LLaDAError(
                .unsupported, "\(source.directory): tensor \"\(tensor.name)\" is F8_E4M3, without a quantization_config"
            )
        }
        // DeepSeek calls them `_scale_inv`, compressed-tensors `_scale`; both are factors.
        let usual = "\(tensor.name)_scale_inv"
        let name = !source.has(usual) && source.has("\(tensor.name)_scale") ? "\(tensor.name)_scale" : usual
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

extension SafetensorsType {
    init(_ type: llk_dtype) {
        switch type {
        case LLK_F16: self = .f16
        case LLK_BF16: self = .bf16
        default: self = .f32
        }
    }
}
