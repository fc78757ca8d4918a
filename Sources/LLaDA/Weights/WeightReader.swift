import Kernels

/// A reader that takes tensors from a source, checks their shapes and holds them in the format that the caller names.
struct WeightReader {
    let source: any TensorSource
    let team: ThreadTeam
    /// What a packed source says of its matrices; nil for any other source.
    private let packed: PackedFile?
    /// Whether tensors are checked and counted, and none of their numbers read. What the reader returns must not be
    /// used then.
    let measuring: Bool
    /// What is read; nil for all.
    private let share: WeightShare?
    /// The expert that the next matrix, or the first of the next stack, is of.
    var expert: ExpertID?
    /// The rows of the next matrix that are read, whatever the share is; nil for all. They begin with a tile.
    private var sliced: Range<Int>?
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
    let budget: MemoryBudget?
    /// What a reading that measures would take.
    var measured = Measured()
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

    struct Measured {
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

    private static var kernels: llk_kernels { llk_get(KernelChoice.isa).pointee }

    /// With `mapping`, files of weights that are used as stored are mapped, and those of a packed source for its routed
    /// experts too; nil maps files of this machine, and none for packed experts. `progress`
    /// receives the part of the source that has been read. An error that it throws ends the call that is reading, and
    /// is rethrown. What is held counts towards `budget`, in stretches by `plan`.
    init(
        _ source: any TensorSource, _ packed: PackedFile?, team: ThreadTeam, mapping: Bool?, share: WeightShare?,
        plan: Arena.Plan, budget: MemoryBudget?, measuring: Bool, progress: Progress?
    ) {
        self.source = source
        self.team = team
        self.packed = packed
        self.measuring = measuring
        self.share = share
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

    /// Reads a matrix. If it is held under a name of its own, `stored` is the tensor to read it from.
    mutating func matrix(
        _ name: String, from stored: String? = nil, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> Matrix {
        try matrices(name, from: stored ?? name, shape: [outputs, inputs], outputs: outputs, inputs: inputs, dtype)[0]
    }

    /// Reads some rows of a matrix that is another rank's, from the beginning of a tile on.
    mutating func slice(
        _ rows: Range<Int>, of name: String, from stored: String, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> Matrix {
        sliced = rows
        defer { sliced = nil }
        let matrix = try unheld(name, from: stored, shape: [outputs, inputs], outputs: outputs, inputs: inputs, dtype)
            .matrices[0]
        bytes += matrix.bytes.count
        return matrix
    }

    /// Reads the matrix of a router, in f32, into memory. A number in it that is not finite would change the choice of
    /// experts, and nothing else would show it.
    mutating func router(_ name: String, outputs: Int, inputs: Int) throws(LLaDAError) -> Matrix {
        let shape = [outputs, inputs]
        let matrix = try matrices(
            name, from: name, shape: shape, outputs: outputs, inputs: inputs, .f32, inMemory: true)[0]
        if !measuring, !present(1).isEmpty { try FiniteCheck(source.directory, team).check(matrix, name) }
        return matrix
    }

    /// Reads a stack of `count` matrices of experts from one tensor: [count, outputs, inputs], as dFactory merges them.
    mutating func stack(
        _ name: String, count: Int, outputs: Int, inputs: Int, _ dtype: NumberFormat?
    ) throws(LLaDAError) -> [Matrix] {
        try matrices(name, from: name, shape: [count, outputs, inputs], outputs: outputs, inputs: inputs, dtype)
    }

    mutating func vector(_ name: String, count: Int) throws(LLaDAError) -> Vector {
        let tensor = try source.tensor(name, shape: [count])
        let isPresent = !present(1).isEmpty
        let vector = isPresent ? try floats(name, shape: [count]) : try Buffer<Float>(count: count)
        if !measuring, isPresent { try FiniteCheck(source.directory, team).check(vector, name) }
        parameters += count
        try hold(name, .f32, [count], [UnsafeRawBufferPointer(start: vector.pointer, count: count * 4)], tensor)
        return Vector(vector)
    }

    /// Returns which of `count` matrices are read: the first is of `expert`.
    private func present(_ count: Int) -> Range<Int> {
        sliced == nil ? share?.present(count, from: expert) ?? 0..<count : 0..<count
    }

    private mutating func hold(
        _ name: String, _ type: SafetensorsType, _ shape: [Int], _ pieces: [UnsafeRawBufferPointer], _ stored: Tensor,
        format: String? = nil
    ) throws(LLaDAError) {
        try Reserve.check()
        let tensor = HeldTensor(
            name: name, type: type, shape: shape, pieces: pieces, present: present(pieces.count), expert: expert,
            stored: measuring ? stored : nil, format: format)
        bytes += tensor.presentByteCount
        held.append(tensor)
    }

    mutating func floats(_ name: String, shape: [Int]) throws(LLaDAError) -> Buffer<Float> {
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
        let isAbsent = present(1).isEmpty
        if tensor.dtype == .f8E4M3 {
            let matrix = try made(name, [count, width], count, width, nil).matrices[0]
            parameters += count * width
            try hold(name, .bf16, [count, width], [matrix.bytes], tensor)
            return Table(base: matrix.base, type: LLK_BF16, width: width, owner: matrix.owner)
        }
        parameters += count * width
        if case .blocks(let type) = tensor.encoding {
            let (base, owner) = try isAbsent ? nowhere : asStored(tensor)
            let bytes = UnsafeRawBufferPointer(start: base, count: tensor.byteCount)
            try hold(name, .u8, [count, type.rowBytes(width)], [bytes], tensor, format: type.name)
            return Table(base: base, blocks: type, width: width, owner: owner)
        }
        let type = try storedType(tensor)
        let (base, owner) = try isAbsent ? nowhere : asStored(tensor)
        let bytes = UnsafeRawBufferPointer(start: base, count: tensor.byteCount)
        try hold(name, SafetensorsType(type), [count, width], [bytes], tensor)
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
        inMemory: Bool = false
    ) throws(LLaDAError) -> [Matrix] {
        let (matrices, tensor, isNamed) = try unheld(
            name, from: stored, shape: shape, outputs: outputs, inputs: inputs, dtype, inMemory: inMemory)
        if isInPlace {
            for matrix in matrices { (matrix.owner as? FileMapping)?.expectRandom(matrix.bytes) }
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
        let isByRule = dtype != nil && !isNamed
        try hold(name, type, shape, matrices.map(\.bytes), tensor, format: isByRule ? nil : layout.name)
        return matrices
    }

    /// Reads one matrix or a stack, and notes nothing of it. Returns also whether a packed source names the layout.
    private mutating func unheld(
        _ name: String, from stored: String, shape: [Int], outputs: Int, inputs: Int, _ dtype: NumberFormat?,
        inMemory: Bool = false
    ) throws(LLaDAError) -> (matrices: [Matrix], Tensor, isNamed: Bool) {
        let named = try packed?.layout(of: name)
        if let packed, case .packed(let format) = named ?? packed.layout(dtype) {
            let (matrices, tensor) = try asPacked(stored, shape.dropLast(2), outputs, inputs, format)
            return (matrices, tensor, named != nil)
        }
        let (matrices, tensor) = try made(
            stored, shape, outputs, inputs, named == nil ? dtype : nil, inMemory: inMemory)
        return (matrices, tensor, named != nil)
    }

    /// Whether the caller asks for maps: then memory may be smaller than the model, experts of a packed source are used
    /// in place, and those that a router chooses are read ahead.
    var readsAhead: Bool { inPlace.isAskedFor }

    /// Whether the next matrix is one of those experts, if the source is packed.
    private var isInPlace: Bool { expert != nil && readsAhead }

    /// Reads matrices of a packed file, or finds them in it.  stack: [count], or [] for one matrix
    private mutating func asPacked(
        _ name: String, _ stack: ArraySlice<Int>, _ outputs: Int, _ inputs: Int, _ format: llk_format
    ) throws(LLaDAError) -> (matrices: [Matrix], Tensor) {
        let shape = stack + PackedFile.shape(format, outputs: outputs, inputs: inputs)
        let tensor = try source.bytes(name, shape: Array(shape))
        let count = stack.reduce(1, *)
        let present = present(count)
        let outputs = sliced?.count ?? outputs
        let (base, owner): (UnsafeRawPointer, AnyObject)
        if present.isEmpty {
            (base, owner) = nowhere
        } else {
            let tiles = sliced.map { $0.lowerBound / tile..<($0.upperBound + tile - 1) / tile }
            let read = tiles.map { tensor.matrices($0) } ?? part(present, of: count, in: tensor)
            (base, owner) = try isInPlace ? asStored(read) : copied(read)
        }
        let width = llk_packed_size(format, outputs, inputs)  // its tiles, blocks and bytes of a block, multiplied
        let places = present.map { (base: base + ($0 - present.lowerBound) * width, owner: owner) }
        return (matrices(count, at: places, .packed(format), outputs: outputs, inputs: inputs), tensor)
    }

    /// Returns some of the `count` matrices that a tensor has.
    private func part(_ present: Range<Int>, of count: Int, in tensor: Tensor) -> Tensor {
        present == 0..<count ? tensor : tensor.matrices(present)
    }

    /// Returns matrices of which those that are read lie at `places`.
    private func matrices(
        _ count: Int, at places: [(base: UnsafeRawPointer, owner: AnyObject)], _ layout: Matrix.Layout, outputs: Int,
        inputs: Int
    ) -> [Matrix] {
        let present = present(count)
        return (0..<count).map {
            let (base, owner) = present.contains($0) ? places[$0 - present.lowerBound] : nowhere
            return Matrix(base: base, layout: layout, outputs: outputs, inputs: inputs, owner: owner)
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

    /// Returns matrices that are not read. What is held as it is stored has one address, anything else another: as in a
    /// reading that measures.
    private func absent(
        _ count: Int, _ layout: Matrix.Layout, outputs: Int, inputs: Int, isAsStored: Bool
    ) -> [Matrix] {
        let (base, owner) = nowhere
        return (0..<count).map { _ in
            Matrix(
                base: isAsStored ? base : base + 1, layout: layout, outputs: outputs, inputs: inputs, owner: owner)
        }
    }

    private mutating func made(
        _ name: String, _ shape: [Int], _ outputs: Int, _ inputs: Int, _ dtype: NumberFormat?, inMemory: Bool = false
    ) throws(LLaDAError) -> (matrices: [Matrix], Tensor) {
        let whole = try source.tensor(name, shape: shape)
        let count = shape.dropLast(2).reduce(1, *)
        let present = present(count)
        let tensor = sliced.map { whole.matrices($0) } ?? part(present, of: count, in: whole)
        let outputs = sliced?.count ?? outputs
        let layout = Matrix.Layout(dtype, stored: whole)
        let width = Matrix.byteCount(layout, outputs: outputs, inputs: inputs)
        func all(_ places: [(base: UnsafeRawPointer, owner: AnyObject)]) -> ([Matrix], Tensor) {
            (matrices(count, at: places, layout, outputs: outputs, inputs: inputs), whole)
        }
        if present.isEmpty {
            if whole.dtype == .f8E4M3 { try checkScales(of: whole) }
            let isAsStored = whole.dtype?.rows.map { layout == .rows($0) } ?? false
            return (absent(count, layout, outputs: outputs, inputs: inputs, isAsStored: isAsStored), whole)
        }
        if let type = tensor.dtype?.rows, layout == .rows(type) {
            let (base, owner) = try asStored(tensor, inMemory: inMemory)
            return all((0..<present.count).map { (base + $0 * width, owner) })
        }
        if measuring {
            _ = try scales(of: whole)
            measured.matrices += repeatElement(width, count: present.count)
            let row = measured.mostRow
            measured.mostRow = (max(row.inputs, inputs), max(row.bytes, tensor.rowBytes))
            let (base, owner) = nowhere
            // Not in the tensor's own place: this would be memory of its own.
            return all(present.map { _ in (base + 1, owner) })
        }
        let rows = try StoredRows(
            tensor, inputs: inputs, outputs: outputs, scales: scales(of: whole),
            firstMatrix: shape.count == 3 ? present.lowerBound : 0, matrices: count)
        var places: [(base: UnsafeMutableRawPointer, owner: AnyObject)] = []
        for _ in present { places.append(try arena.take(width)) }
        let bases = places.map(\.base)
        let floats = try tileFloats.reserve(team.size * tile * inputs)  // [threads, tile, inputs]
        let bytes = try tileBytes.reserve(team.size * tile * rows.rowBytes)  // [threads, tile, bytes of a row]
        let tiles = (outputs + tile - 1) / tile
        let (tile, kernels) = (tile, Self.kernels)
        try forEach(present.count * tiles, of: tensor) { (index, worker) throws(LLaDAError) in
            let (matrix, first) = (index / tiles, index % tiles * tile)
            let outputs = first..<min(first + tile, outputs)
            try rows.hold(
                outputs, of: matrix, as: layout, bytes + worker * tile * rows.rowBytes,
                floats + worker * tile * inputs, kernels, at: bases[matrix])
        }
        let made = all(places.map { (UnsafeRawPointer($0.base), $0.owner) })
        for index in present {
            try FiniteCheck(source.directory, team).check(made.0[index], count > 1 ? "\(name)[\(index)]" : name)
        }
        return made
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
