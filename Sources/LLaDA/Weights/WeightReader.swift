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
    private(set) var inPlace: StoredInPlace
    /// The bytes of the source, and those of them that have been read.
    private let total: Int
    private var done = 0
    /// How many bytes of the source are read between two calls of `progress`.
    private static let piece = 16 << 20
    /// How many bytes a thread reads in one call of the system, at most.
    private static let readAtOnce = 1 << 20
    private let arena: Arena
    private let budget: MemoryBudget?
    /// What a reading that measures would take.
    private var measured = Measured()
    /// Room for the numbers of a tile of a matrix, and for its bytes as stored, for each thread.
    private var tileFloats: Scratch<Float>
    private var tileBytes: Scratch<UInt8>
    private let tile = Int(LLK_TILE)
    private(set) var parameters = 0
    private(set) var bytes = 0
    /// The numbers of parameters of matrices that are held in each packed format; nil: in rows.
    private var parametersOf: [NumberFormat?: Int] = [:]
    /// All tensors taken so far.
    private(set) var held: [HeldTensor] = []

    private struct Measured {
        /// Of what the arena would hold, in order.
        var matrices: [Int] = []
        /// The tensors of these that are held as stored.
        var asStored: [[Tensor.Place]] = []
        /// Of what is held besides.
        var otherBytes = 0
        /// Of the rows of a matrix that is converted.
        var mostRow = (inputs: 0, bytes: 0)
        /// Of a vector as stored.
        var mostStored = 0
    }

    /// What a reading that measures would take.
    var sizes: Weights.Sizes {
        let row = MemoryLayout<Float>.size * measured.mostRow.inputs + measured.mostRow.bytes
        return Weights.Sizes(
            matrices: measured.matrices, otherBytes: measured.otherBytes,
            scratchBytes: team.size * tile * row + measured.mostStored)
    }

    private static var kernels: llk_kernels { llk_get(llk_best_isa()).pointee }

    /// With `mapping`, files of weights that are used as stored are mapped, and those of a packed source for its routed
    /// experts too; nil maps files of this machine, and none for packed experts. `progress`
    /// receives the part of the source that has been read. An error that it throws ends the call that is reading, and
    /// is rethrown. What is held counts towards `budget`, in stretches by `plan`.
    init(
        _ source: any TensorSource, _ packed: PackedFile?, team: ThreadTeam, mapping: Bool?, plan: Arena.Plan,
        budget: MemoryBudget?, measuring: Bool, progress: Progress?
    ) {
        self.source = source
        self.team = team
        self.packed = packed
        self.measuring = measuring
        self.progress = progress
        inPlace = StoredInPlace(mapping: mapping)
        total = max(1, source.byteCount)
        arena = Arena(team: team, plan, in: budget)
        self.budget = measuring ? nil : budget
        tileFloats = Scratch(in: self.budget)
        tileBytes = Scratch(in: self.budget)
    }

    /// The packed format in which most parameters of matrices are held; nil if most are held in rows, as stored.
    var mainFormat: NumberFormat? {
        let rows = parametersOf[nil, default: 0]
        let most = NumberFormat.allCases.max { parametersOf[$0, default: 0] < parametersOf[$1, default: 0] }
        return most.flatMap { parametersOf[$0, default: 0] > rows ? $0 : nil }
    }

    /// Reads a matrix. If it is held under a name of its own, `stored` is the tensor to read it from. `isRouted` says
    /// that it is one of an expert, of which a forward needs some.
    mutating func matrix(
        _ name: String, from stored: String? = nil, outputs: Int, inputs: Int, _ dtype: NumberFormat?,
        isRouted: Bool = false
    ) throws(LLaDAError) -> Matrix {
        try matrices(
            name, from: stored ?? name, shape: [outputs, inputs], outputs: outputs, inputs: inputs, dtype,
            isRouted: isRouted)[0]
    }

    /// Reads the matrix of a router, in f32, into memory. A number in it that is not finite would change the choice of
    /// experts, and nothing else would show it.
    mutating func router(_ name: String, outputs: Int, inputs: Int) throws(LLaDAError) -> Matrix {
        let shape = [outputs, inputs]
        let matrix = try matrices(
            name, from: name, shape: shape, outputs: outputs, inputs: inputs, .f32, inMemory: true)[0]
        if !measuring { try FiniteCheck(source.directory, team).check(matrix, name) }
        return matrix
    }

    /// Reads a stack of `count` matrices of experts from one tensor: [count, outputs, inputs], as dFactory merges them.
    mutating func stack(
        _ name: String, count: Int, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        try matrices(
            name, from: name, shape: [count, outputs, inputs], outputs: outputs, inputs: inputs, dtype, isRouted: true)
    }

    mutating func vector(_ name: String, count: Int) throws(LLaDAError) -> Vector {
        let vector = try floats(name, shape: [count])
        if !measuring { try FiniteCheck(source.directory, team).check(vector, name) }
        parameters += count
        try hold(name, .f32, [count], [UnsafeRawBufferPointer(start: vector.pointer, count: count * 4)])
        return Vector(vector)
    }

    private mutating func hold(
        _ name: String, _ type: SafetensorsType, _ shape: [Int], _ pieces: [UnsafeRawBufferPointer],
        format: String? = nil
    ) throws(LLaDAError) {
        try Reserve.check()
        let tensor = HeldTensor(name: name, type: type, shape: shape, pieces: pieces, format: format)
        bytes += tensor.byteCount
        held.append(tensor)
    }

    private mutating func floats(_ name: String, shape: [Int]) throws(LLaDAError) -> Buffer<Float> {
        let tensor = try source.tensor(name, shape: shape)
        let count = shape.reduce(1, *)
        let buffer = try Buffer<Float>(count: count, in: budget)
        if measuring {
            measured.otherBytes += buffer.byteCount
            measured.mostStored = max(measured.mostStored, tensor.rows * tensor.rowBytes)
            if case .plain = tensor.encoding { _ = try storedType(tensor) }
            return buffer
        }
        let stored = try Buffer<UInt8>(count: tensor.rows * tensor.rowBytes, in: budget)
        if case .plain = tensor.encoding {
            try tensor.read(0..<tensor.rows, into: stored.pointer)
            Self.kernels.to_f32(stored.pointer, try storedType(tensor), count, buffer.pointer)
        } else {
            try tensor.decode(0..<tensor.rows, stored: stored.pointer, into: buffer.pointer)
        }
        withExtendedLifetime(stored) {}
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
            try hold(name, .bf16, [count, width], [matrix.bytes])
            return Table(base: matrix.base, type: LLK_BF16, width: width, owner: matrix.owner)
        }
        parameters += count * width
        if case .blocks(let type) = tensor.encoding {
            let (base, owner) = try asStored(tensor)
            let bytes = UnsafeRawBufferPointer(start: base, count: tensor.byteCount)
            try hold(name, .u8, [count, type.rowBytes(width)], [bytes], format: type.name)
            return Table(base: base, blocks: type, width: width, owner: owner)
        }
        let type = try storedType(tensor)
        let (base, owner) = try asStored(tensor)
        let bytes = UnsafeRawBufferPointer(start: base, count: tensor.byteCount)
        try hold(name, SafetensorsType(type), [count, width], [bytes])
        return Table(base: base, type: type, width: width, owner: owner)
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
            name: name, dtype: type.numberFormat, encoding: .blocks(type), shape: [count, width],
            places: bytes.places)
    }

    /// Reads one matrix or a stack.  shape: [outputs, inputs] or [count, outputs, inputs]
    private mutating func matrices(
        _ name: String, from stored: String, shape: [Int], outputs: Int, inputs: Int, _ dtype: NumberFormat?,
        inMemory: Bool = false, isRouted: Bool = false
    ) throws(LLaDAError) -> [Matrix] {
        let named = try packed?.layout(of: name)
        let matrices: [Matrix]
        if let packed, case .packed(let format) = named ?? packed.layout(dtype) {
            matrices = try asPacked(stored, shape.dropLast(2), outputs, inputs, format, isRouted: isRouted)
        } else {
            matrices = try made(stored, shape, outputs, inputs, named == nil ? dtype : nil, inMemory: inMemory)
        }
        if isRouted, readsAhead, let file = matrices[0].owner as? FileMapping {
            for matrix in matrices { file.expectRandom(matrix.bytes) }
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
        try hold(name, type, shape, matrices.map(\.bytes), format: isByRule ? nil : layout.name)
        return matrices
    }

    /// Whether the caller asks for maps: then memory may be smaller than the model, experts of a packed source are used
    /// in place, and those that a router chooses are read ahead.
    var readsAhead: Bool { inPlace.isAskedFor }

    /// Reads matrices of a packed file, or finds them in it.  stack: [count], or [] for one matrix
    private mutating func asPacked(
        _ name: String, _ stack: ArraySlice<Int>, _ outputs: Int, _ inputs: Int, _ format: llk_format, isRouted: Bool
    ) throws(LLaDAError) -> [Matrix] {
        let shape = stack + PackedFile.shape(format, outputs: outputs, inputs: inputs)
        let tensor = try source.bytes(name, shape: Array(shape))
        let (base, owner) = try isRouted && readsAhead ? asStored(tensor) : copied(tensor)
        let width = llk_packed_size(format, outputs, inputs)  // its tiles, blocks and bytes of a block, multiplied
        return (0..<stack.reduce(1, *)).map {
            Matrix(base: base + $0 * width, layout: .packed(format), outputs: outputs, inputs: inputs, owner: owner)
        }
    }

    private mutating func copied(_ tensor: Tensor) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        if measuring { measured.matrices.append(tensor.byteCount) }
        return measuring ? nowhere : try inHugePages(tensor)
    }

    /// Reads the bytes of a tensor into huge pages. If they were mapped, a step would take 1.07 (int8) to 1.19 times
    /// (int4) as long where the system's cache has large folios.
    private mutating func inHugePages(_ tensor: Tensor) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        let (base, owner) = try arena.take(tensor.byteCount)
        let count = tensor.byteCount
        try forEach((count + Self.readAtOnce - 1) / Self.readAtOnce, of: tensor) { (index, _) throws(LLaDAError) in
            let start = index * Self.readAtOnce
            try tensor.read(
                start,
                into: UnsafeMutableRawBufferPointer(start: base + start, count: min(Self.readAtOnce, count - start)))
        }
        return (UnsafeRawPointer(base), owner)
    }

    /// Returns the bytes of a tensor as they are stored: in the mapped file, or read into memory.
    private mutating func asStored(
        _ tensor: Tensor, inMemory: Bool = false
    ) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        if measuring {
            if inMemory {
                measured.otherBytes += tensor.byteCount
            } else if !inPlace.isMapped(tensor), !measured.asStored.contains(tensor.places) {
                measured.matrices.append(tensor.byteCount)
                measured.asStored.append(tensor.places)
            }
            return nowhere
        }
        if inMemory {
            let buffer = try Buffer<UInt8>(count: tensor.byteCount, in: budget)
            try tensor.read(0, into: UnsafeMutableRawBufferPointer(start: buffer.pointer, count: buffer.count))
            return (UnsafeRawPointer(buffer.pointer), buffer)
        }
        if let known = try inPlace.find(tensor) { return known }
        let read = try inHugePages(tensor)
        inPlace.note(tensor, read.0, read.1)
        return read
    }

    /// What stands for memory where nothing is read.
    private var nowhere: (UnsafeRawPointer, AnyObject) {
        (UnsafeRawPointer(Unmanaged.passUnretained(source as AnyObject).toOpaque()), source)
    }

    private mutating func made(
        _ name: String, _ shape: [Int], _ outputs: Int, _ inputs: Int, _ dtype: NumberFormat?, inMemory: Bool = false
    ) throws(LLaDAError) -> [Matrix] {
        let tensor = try source.tensor(name, shape: shape)
        let count = shape.dropLast(2).reduce(1, *)
        let layout = Matrix.Layout(dtype, stored: tensor)
        let width = Matrix.byteCount(layout, outputs: outputs, inputs: inputs)
        if let type = tensor.dtype?.rows, layout == .rows(type) {
            let (base, owner) = try asStored(tensor, inMemory: inMemory)
            return (0..<count).map {
                Matrix(base: base + $0 * width, layout: layout, outputs: outputs, inputs: inputs, owner: owner)
            }
        }
        if measuring {
            _ = try scales(of: tensor)
            measured.matrices += repeatElement(width, count: count)
            let row = measured.mostRow
            measured.mostRow = (max(row.inputs, inputs), max(row.bytes, tensor.rowBytes))
            let (base, owner) = nowhere
            return (0..<count).map { _ in
                // Not in the tensor's own place: this would be memory of its own.
                Matrix(base: base + 1, layout: layout, outputs: outputs, inputs: inputs, owner: owner)
            }
        }
        let rows = try StoredRows(tensor, inputs: inputs, outputs: outputs, scales: scales(of: tensor))
        var places: [(base: UnsafeMutableRawPointer, owner: AnyObject)] = []
        for _ in 0..<count { places.append(try arena.take(width)) }
        let bases = places.map(\.base)
        let floats = try tileFloats.reserve(team.size * tile * inputs)  // [threads, tile, inputs]
        let bytes = try tileBytes.reserve(team.size * tile * rows.rowBytes)  // [threads, tile, bytes of a row]
        let tiles = (outputs + tile - 1) / tile
        let (tile, kernels) = (tile, Self.kernels)
        try forEach(count * tiles, of: tensor) { (index, worker) throws(LLaDAError) in
            let (matrix, first) = (index / tiles, index % tiles * tile)
            let outputs = first..<min(first + tile, outputs)
            try rows.hold(
                outputs, of: matrix, as: layout, bytes + worker * tile * rows.rowBytes,
                floats + worker * tile * inputs, kernels, at: bases[matrix])
        }
        let matrices = places.map {
            Matrix(
                base: UnsafeRawPointer($0.base), layout: layout, outputs: outputs, inputs: inputs, owner: $0.owner)
        }
        for (index, matrix) in matrices.enumerated() {
            try FiniteCheck(source.directory, team).check(matrix, count > 1 ? "\(name)[\(index)]" : name)
        }
        return matrices
    }

    /// Runs `body` for each of `count` equal parts of a tensor on all threads, and reports progress on the way. The
    /// first error of a part ends the work, and is rethrown.
    private mutating func forEach(
        _ count: Int, of tensor: Tensor, _ body: (Int, Int) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        let failure = Locked<LLaDAError?>(nil)
        let atOnce = max(1, count / (tensor.byteCount / Self.piece + 1))
        for first in stride(from: 0, to: count, by: atOnce) {
            let last = min(first + atOnce, count)
            team.forEach(last - first) { index, worker in
                do throws(LLaDAError) {
                    try body(first + index, worker)
                } catch {
                    failure.withLock { $0 = $0 ?? error }
                }
            }
            if let error = failure.withLock({ $0 }) { throw error }
            let read = done + Int(Double(tensor.byteCount) * Double(last) / Double(count))
            try progress?(min(1, Double(read) / Double(total)))
        }
        done += tensor.byteCount
    }

    // MARK: Float8

    /// Returns the scales of a float8 tensor; nil for any other. Throws `.numeric` unless each is a positive finite
    /// number.
    private mutating func scales(of tensor: Tensor) throws(LLaDAError) -> (BlockFP8, Buffer<Float>)? {
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

extension SafetensorsType {
    init(_ type: llk_dtype) {
        switch type {
        case LLK_F16: self = .f16
        case LLK_BF16: self = .bf16
        default: self = .f32
        }
    }
}
