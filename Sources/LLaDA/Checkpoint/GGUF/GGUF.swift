/// One file of the GGUF format, version 2 or 3, checked completely: the magic number, key-value pairs, and tensors,
/// each at an offset from the aligned end of these. Time and memory of the check are linear in the size of the file.
package struct GGUF: Sendable {
    package struct Entry: Sendable {
        package let name: JSONString
        package let type: GGUFType
        /// The dimensions, outermost first. A file has them the other way round.
        package let shape: [Int]
        /// The place of the bytes in the file.
        package let bytes: Range<Int>
    }

    package let file: InputFile
    /// The bytes of the header.
    private let header: FilePrefix
    /// The file's name, for messages.
    package let name: String
    /// The tensors, in the order of the header.
    package let entries: Entries
    /// The bytes of what stands of tensors, of which something is made.
    let infoBytes: Int
    /// The metadata by key.
    private let values: [JSONString: GGUFValue]

    /// The magic number.
    package static let magic: [UInt8] = Array("GGUF".utf8)
    fileprivate static let versions: ClosedRange<UInt32> = 2...3
    /// The numbers of dimensions that a tensor may have.
    fileprivate static let ranks: ClosedRange<UInt32> = 1...4
    /// The deepest nesting of arrays.
    fileprivate static let maximumDepth = 8
    /// The least bytes of what stands of a tensor.
    fileprivate static let leastInfo = 24
    /// The most pairs of metadata. Files have some dozens.
    static let maximumPairs = 65_536
    /// The most tensors.
    static let maximumTensors = 1_000_000
    /// The most bytes of a key or a tensor's name, as the format says.
    static let longestName = 65_535
    /// The alignment of tensors in a file that does not name one.
    fileprivate static let defaultAlignment = 32

    /// Reads the header of a whole file. `name` is only its name in messages. Throws `.gguf`, or `.unsupported` for
    /// another version or byte order, or an unknown type of tensors.
    package init(_ file: InputFile, name: String, budget: MemoryBudget? = nil) throws(LLaDAError) {
        self.file = file
        self.name = name
        header = try FilePrefix(file, budget: budget)
        var reader = GGUFHeaderReader(header, file: name)
        (values, entries) = try reader.header()
        infoBytes = Self.leastInfo * entries.count
    }

    /// Who keeps the bytes of the header.
    var headerOwner: AnyObject { header }

    /// The bytes of memory of the header.
    var headerBytes: Int { header.byteCount }

    /// The tensors of a file, read from its header as they are asked for.
    package struct Entries: RandomAccessCollection, @unchecked Sendable {  // records never change
        fileprivate struct Record: BitwiseCopyable {
            /// The place in the header.
            var info: Int
            /// The place of the numbers in the file.
            var start: Int
            var end: Int
            var bytes: Range<Int> { start..<end }
        }

        fileprivate let reader: GGUFHeaderReader
        fileprivate let records: Buffer<Record>?
        package var startIndex: Int { 0 }
        package var endIndex: Int { records?.count ?? 0 }

        /// The place of a tensor's numbers.
        func place(_ index: Int) -> Range<Int> { records?.pointer[index].bytes ?? 0..<0 }

        package subscript(index: Int) -> Entry {
            guard let record = records?.pointer[index], let info = try? reader.info(at: record.info) else {
                return Entry(name: "", type: .f32, shape: [0], bytes: 0..<0)  // was read before
            }
            return Entry(name: info.name, type: info.type, shape: info.shape, bytes: record.bytes)
        }
    }

    package subscript(key: String) -> GGUFValue? { values[JSONString(key)] }

    /// The bytes before the first tensor, and some more.
    var headerSize: Int { header.bytes.count }

    /// Returns the bytes of a string, which keep the header.
    func shared(_ place: Range<Int>) -> SharedBytes {
        SharedBytes(UnsafeRawBufferPointer(rebasing: header.bytes[place]), owner: header)
    }

    /// The keys, sorted.
    package var keys: [String] { values.keys.map(\.string).sorted() }

    /// Returns the bytes of a string.
    package func bytes(_ place: Range<Int>) -> [UInt8] {
        withExtendedLifetime(header) { Array(header.bytes[place]) }
    }

    /// A description of a value for messages.
    package func summary(_ value: GGUFValue) -> String {
        guard case .string(let place) = value else { return value.summary }
        return JSONString(bytes(place.prefix(400))).quoted
    }

    /// Calls `body` with the bytes of each string of an array. The array was checked when the file was read.
    package func forEachString(
        _ place: Range<Int>, count: Int, _ body: (Int, UnsafeRawBufferPointer) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        try withExtendedLifetime(header) { () throws(LLaDAError) in
            var cursor = GGUFCursor(header, place, file: name)
            for index in 0..<count {
                try body(index, UnsafeRawBufferPointer(rebasing: header.bytes[try cursor.string("a string")]))
            }
        }
    }

    /// Returns the element of an array of 32-bit integers.
    package func int32(_ place: Range<Int>, at index: Int) -> Int32 {
        withExtendedLifetime(header) {
            let number = header.bytes.loadUnaligned(fromByteOffset: place.lowerBound + 4 * index, as: Int32.self)
            return Int32(littleEndian: number)
        }
    }
}

/// A reader of the header, from the magic number to the last tensor's place.
private struct GGUFHeaderReader: Sendable {
    private let prefix: FilePrefix
    private let file: String
    private var cursor: GGUFCursor
    private var alignment = GGUF.defaultAlignment

    init(_ prefix: FilePrefix, file: String) {
        self.prefix = prefix
        self.file = file
        cursor = GGUFCursor(prefix, 0..<prefix.file.size, file: file)
    }

    mutating func header() throws(LLaDAError) -> (values: [JSONString: GGUFValue], entries: GGUF.Entries) {
        try checkMagic()
        // A tensor has at least the length of its name, the number of its dimensions, its type and its offset.
        let tensorCount = try cursor.count(of: GGUF.leastInfo, "the number of tensors")
        // A pair has at least the length of its key, its type, and a byte.
        let pairCount = try cursor.count(of: 13, "the number of metadata pairs")
        for (what, count, most) in [
            ("tensors", tensorCount, GGUF.maximumTensors), ("metadata pairs", pairCount, GGUF.maximumPairs),
        ] where count > most {
            throw LLaDAError(
                .gguf, file: file, key: "the number of \(what)", found: "\(count)", expected: "at most \(most)")
        }
        // The table of the pairs, and names: a thousand are longer than a block of the reserve only by evil will.
        let room = try Reserve.Room(256 * pairCount + 4 * GGUF.longestName)
        defer { room.close() }
        var values: [JSONString: GGUFValue] = [:]
        values.reserveCapacity(pairCount)
        for _ in 0..<pairCount {
            try Reserve.check()
            let key = try cursor.name("a metadata key")
            let type = try valueType("metadata \(key.quoted)")
            let value = try value(type, "metadata \(key.quoted)")
            if values.updateValue(value, forKey: key) != nil {
                throw cursor.error("metadata \(key.quoted) is there twice")
            }
        }
        alignment = try alignment(values)
        return (values, try tensors(tensorCount))
    }

    private mutating func checkMagic() throws(LLaDAError) {
        let magic = try cursor.take(4, "the magic number")
        if !prefix.bytes[magic].elementsEqual(GGUF.magic) {
            if let description = WrongFile.description(prefix.bytes) {
                throw LLaDAError(.gguf, "\(file) \(description)")
            }
            throw cursor.error("does not begin with GGUF")
        }
        let version = try cursor.integer(UInt32.self, "the version")
        if version & 0xFFFF == 0, version != 0 {
            throw LLaDAError(.unsupported, "\(file): is a big-endian GGUF file; expected little-endian")
        }
        if !GGUF.versions.contains(version) {
            throw LLaDAError(
                .unsupported, file: file, key: "the version of GGUF", found: "\(version)", expected: "2 or 3")
        }
    }

    // MARK: Metadata

    private mutating func valueType(_ what: @autoclosure () -> String) throws(LLaDAError) -> GGUFValueType {
        let number = try cursor.integer(UInt32.self, "the type of \(what())")
        guard let type = GGUFValueType(rawValue: number) else {
            throw LLaDAError(.gguf, file: file, key: "the type of \(what())", found: "\(number)", expected: "0 to 12")
        }
        return type
    }

    private mutating func value(
        _ type: GGUFValueType, _ what: @autoclosure () -> String
    ) throws(LLaDAError) -> GGUFValue {
        switch type {
        case .uint8: return .integer(Int(try cursor.integer(UInt8.self, what())))
        case .int8: return .integer(Int(try cursor.integer(Int8.self, what())))
        case .uint16: return .integer(Int(try cursor.integer(UInt16.self, what())))
        case .int16: return .integer(Int(try cursor.integer(Int16.self, what())))
        case .uint32: return .integer(Int(try cursor.integer(UInt32.self, what())))
        case .int32: return .integer(Int(try cursor.integer(Int32.self, what())))
        case .int64: return .integer(Int(try cursor.integer(Int64.self, what())))
        case .uint64:
            let number = try cursor.integer(UInt64.self, what())
            return Int(exactly: number).map { .integer($0) } ?? .large(number)
        case .float32: return .float(Float(bitPattern: try cursor.integer(UInt32.self, what())))
        case .float64: return .double(Double(bitPattern: try cursor.integer(UInt64.self, what())))
        case .bool:
            let byte = try cursor.integer(UInt8.self, what())
            if byte > 1 { throw LLaDAError(.gguf, file: file, key: what(), found: "\(byte)", expected: "0 or 1") }
            return .bool(byte == 1)
        case .string: return .string(try cursor.string(what()))
        case .array:
            let (type, count) = try arrayHeader(what())
            let start = cursor.position
            try skipElements(type, count, depth: 1, what())
            return .array(type, count, start..<cursor.position)
        }
    }

    private mutating func arrayHeader(
        _ what: @autoclosure () -> String
    ) throws(LLaDAError) -> (GGUFValueType, Int) {
        let type = try valueType("the elements of \(what())")
        return (type, try cursor.count(of: type.leastSize, "the number of elements of \(what())"))
    }

    private mutating func skipElements(
        _ type: GGUFValueType, _ count: Int, depth: Int, _ what: @autoclosure () -> String
    ) throws(LLaDAError) {
        if let size = type.size {
            _ = try cursor.take(count * size, what())  // count was compared with the bytes that are left
        } else if type == .string {
            for _ in 0..<count { _ = try cursor.string(what()) }
        } else {
            if depth == GGUF.maximumDepth {
                throw cursor.error("\(what()) is nested deeper than \(GGUF.maximumDepth) levels")
            }
            for _ in 0..<count {
                let (type, count) = try arrayHeader(what())
                try skipElements(type, count, depth: depth + 1, what())
            }
        }
    }

    private func alignment(_ values: [JSONString: GGUFValue]) throws(LLaDAError) -> Int {
        guard let value = values["general.alignment"] else { return GGUF.defaultAlignment }
        guard case .integer(let alignment) = value, 1...1 << 30 ~= alignment, alignment & (alignment - 1) == 0 else {
            throw LLaDAError(
                .gguf, file: file, key: "general.alignment", found: value.summary, expected: "a power of two up to 2^30"
            )
        }
        return alignment
    }

    // MARK: Tensors

    /// What the header says of a tensor.
    struct Info {
        var name: JSONString
        var type: GGUFType
        var shape: [Int]
        var size: Int
        var offset: UInt64
    }

    /// Reads what stands at a place that was read before.
    func info(at place: Int) throws(LLaDAError) -> Info {
        var reader = self
        reader.cursor.position = place
        return try reader.info()
    }

    private mutating func info() throws(LLaDAError) -> Info {
        let name = try cursor.name("a tensor's name")
        let shape = try shape(name)
        let number = try cursor.integer(UInt32.self, "the type of tensor \(name.quoted)")
        guard let type = GGUFType(number) else {
            throw LLaDAError(
                .unsupported, file: file, key: "tensor \(name.quoted): type", found: "\(number)",
                expected: "a known type; \(GGUFType.readNames) are read")
        }
        let size = try byteCount(name, type, shape)
        let offset = try cursor.integer(UInt64.self, "the offset of tensor \(name.quoted)")
        if offset % UInt64(alignment) != 0 {
            throw error(name, "offset", found: "\(offset)", expected: "a multiple of the alignment, \(alignment)")
        }
        return Info(name: name, type: type, shape: shape, size: size, offset: offset)
    }

    private mutating func tensors(_ count: Int) throws(LLaDAError) -> GGUF.Entries {
        if count == 0 { return GGUF.Entries(reader: self, records: nil) }
        let records = try Buffer<GGUF.Entries.Record>(count: count)
        let names = try NameTable(capacity: count)
        let reader = self
        func name(_ index: Int) -> JSONString { (try? reader.info(at: records.pointer[index].info))?.name ?? "" }
        for index in 0..<count {
            try Reserve.check()
            let place = cursor.position
            let info = try info()
            records.pointer[index] = .init(info: place, start: 0, end: 0)
            if names.insert(info.name, index, nameOf: name) != nil {
                throw cursor.error("tensor \(info.name.quoted) is there twice")
            }
        }
        let (end, overflow) = cursor.position.addingReportingOverflow(alignment - 1)
        let base = overflow ? Int.max : end / alignment * alignment
        let room = max(0, prefix.file.size - base)
        for index in 0..<count {
            let info = try info(at: records.pointer[index].info)
            guard info.size <= room, info.offset <= UInt64(room - info.size) else {
                throw error(
                    info.name, "place", found: "\(info.size) bytes from \(info.offset) on",
                    expected: "a place within the file's \(room) bytes of data; it may be cut short")
            }
            let start = base + Int(info.offset)
            records.pointer[index].start = start
            records.pointer[index].end = start + info.size
        }
        let entries = GGUF.Entries(reader: self, records: records)
        try checkApart(entries)
        return entries
    }

    private func error(_ name: JSONString, _ key: String, found: String, expected: String) -> LLaDAError {
        LLaDAError(.gguf, file: file, key: "tensor \(name.quoted): \(key)", found: found, expected: expected)
    }

    /// Reads the dimensions, and returns them outermost first.
    private mutating func shape(_ name: JSONString) throws(LLaDAError) -> [Int] {
        let rank = try cursor.integer(UInt32.self, "the number of dimensions of tensor \(name.quoted)")
        if !GGUF.ranks.contains(rank) {
            throw error(name, "number of dimensions", found: "\(rank)", expected: "1 to \(GGUF.ranks.upperBound)")
        }
        var shape: [Int] = []
        for _ in 0..<rank {
            let dimension = try cursor.integer(UInt64.self, "a dimension of tensor \(name.quoted)")
            guard let dimension = Int(exactly: dimension), dimension > 0 else {
                throw error(name, "dimension", found: "\(dimension)", expected: "1 to 2^63 - 1")
            }
            shape.append(dimension)
        }
        return shape.reversed()
    }

    private func byteCount(_ name: JSONString, _ type: GGUFType, _ shape: [Int]) throws(LLaDAError) -> Int {
        let width = shape.last ?? 1
        if width % type.numbers != 0 {
            throw error(
                name, "shape", found: "\(shape) of \(type.name)", expected: "rows of a multiple of \(type.numbers)")
        }
        var size = type.bytes
        for factor in shape.dropLast() + [width / type.numbers] {
            let (product, overflow) = size.multipliedReportingOverflow(by: factor)
            if overflow { throw error(name, "shape", found: "\(shape)", expected: "a size that fits 64 bits") }
            size = product
        }
        return size
    }

    /// Refuses a byte that belongs to two tensors.
    private func checkApart(_ entries: GGUF.Entries) throws(LLaDAError) {
        let order = try Buffer<(start: Int, index: Int)>(count: entries.count)
        for index in entries.indices { order.pointer[index] = (entries.place(index).lowerBound, index) }
        order.elements.sortInPlace { $0 < $1 }
        for (before, after) in zip(order.elements, order.elements.dropFirst())
        where after.start < entries.place(before.index).upperBound {
            throw error(
                entries[after.index].name, "place",
                found: "inside that of tensor \(entries[before.index].name.quoted)", expected: "one of its own")
        }
    }
}
