/// One file of the safetensors format, checked completely: eight bytes with the header's length, a JSON header, and the
/// tensors without gaps up to the end of the file.
package struct Safetensors: Sendable {
    package struct Entry: Sendable {
        package let name: JSONString
        package let type: SafetensorsType
        package let shape: [Int]
        /// The place of the bytes, counted from the beginning of the file. It may be unaligned.
        package let bytes: Range<Int>
    }

    /// The tensors, in the order in which they stand in the file.
    package let entries: Entries
    /// The members of `__metadata__`, in the order of the file.
    package let metadata: [(key: JSONString, value: JSONString)]
    /// The bytes of the header.
    package let headerBytes: Int
    private let reservation: Reservation?

    /// How many bytes lists of all tensors and of their names take, in arrays that double.
    var listSize: Int { entries.indices.reduce(0) { $0 + 1024 + 16 * entries.name($1).count } }

    /// The format's own limit on the header, in bytes.
    package static let maximumHeader = 100_000_000
    package static let maximumRank = 16
    /// The most tensors of a file. LLaDA2-flash has 24,161.
    package static let maximumTensors = 1_000_000
    package static let maximumMetadata = 10_000

    /// Reads the header of a file, which messages call `name`. What it takes counts towards `budget`. Throws
    /// `.safetensors`, or `.unsupported` for an unknown element type, and `.io`.
    package init(_ file: InputFile, name: String, budget: MemoryBudget? = nil) throws(LLaDAError) {
        let prefix = try FilePrefix(file)
        try prefix.reach(8)
        var reservation: Reservation?
        if let length = Self.length(prefix.bytes), length <= file.size - 8 {
            if let budget {
                reservation = try Reservation((1 + MemoryBudget.smallFileMultiple) * length, in: budget)
            }
            try prefix.reach(8 + length)
        }
        try self.init(prefix.shared, size: file.size, file: name, reservation)
    }

    /// Reads the header from the first `bytes` of a file, all of which has `size` bytes; without a size, it has no
    /// more. `file` is only its name in error messages.
    package init(_ bytes: UnsafeRawBufferPointer, size: Int? = nil, file: String) throws(LLaDAError) {
        try self.init(try SharedBytes(copying: bytes), size: size ?? bytes.count, file: file, nil)
    }

    /// Returns the length of the header as the first bytes say, if it may be as long.
    private static func length(_ bytes: UnsafeRawBufferPointer) -> Int? {
        if bytes.count < 8 { return nil }
        return Int(exactly: UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)))
            .flatMap { $0 <= maximumHeader ? $0 : nil }
    }

    private init(
        _ bytes: SharedBytes, size: Int, file: String, _ reservation: Reservation?
    ) throws(LLaDAError) {
        self.reservation = reservation
        let (header, base) = try Self.header(of: bytes, size: size, file: file)
        headerBytes = base - 8
        let parser = HeaderParser(file: file, base: base, dataCount: size - base)
        var metadata: [(key: JSONString, value: JSONString)] = []
        let records = try Buffer<Entries.Record>(count: header.members.count)
        var count = 0
        var members = header.members.makeIterator()
        while let (name, value) = members.next() {
            if name == "__metadata__" {
                metadata = try parser.metadata(value)
            } else {
                let (type, _, bytes) = try parser.entry(name, value)
                records.pointer[count] = .init(
                    key: members.keyPlace, type: type, start: bytes.lowerBound, end: bytes.upperBound)
                count += 1
            }
        }
        if count > Self.maximumTensors {
            throw parser.error("has \(count) tensors; at most \(Self.maximumTensors) are accepted")
        }
        // A tensor without elements ends where it begins, and must come before its neighbour at the same place.
        UnsafeMutableBufferPointer(start: records.pointer, count: count).sortInPlace {
            ($0.start, $0.end) < ($1.start, $1.end)
        }
        entries = Entries(header: header, parser: parser, records: records, count: count)
        self.metadata = metadata
        try parser.checkContiguous(entries)
    }

    /// The tensors of a file, made from the text of its header as they are asked for.
    package struct Entries: RandomAccessCollection, @unchecked Sendable {  // records never change
        fileprivate struct Record: BitwiseCopyable {
            /// The place of the tensor's key in the header.
            var key: UInt32
            var type: SafetensorsType
            var start: Int
            var end: Int
            var bytes: Range<Int> { start..<end }
        }

        private let header: JSONObject
        private let parser: HeaderParser
        private let records: Buffer<Record>
        package let endIndex: Int
        package var startIndex: Int { 0 }

        fileprivate init(header: JSONObject, parser: HeaderParser, records: Buffer<Record>, count: Int) {
            self.header = header
            self.parser = parser
            self.records = records
            endIndex = count
        }

        package subscript(index: Int) -> Entry {
            let record = records.pointer[index]
            guard let (name, value) = header.members.member(at: record.key),
                let (_, shape, _) = try? parser.entry(name, value)
            else { return Entry(name: "", type: record.type, shape: [], bytes: record.bytes) }  // was read before
            return Entry(name: name, type: record.type, shape: shape, bytes: record.bytes)
        }

        /// The name alone.
        package func name(_ index: Int) -> JSONString {
            header.members.member(at: records.pointer[index].key)?.key ?? ""
        }

        package func type(_ index: Int) -> SafetensorsType { records.pointer[index].type }

        /// The place of the bytes in the file.
        package func bytes(_ index: Int) -> Range<Int> { records.pointer[index].bytes }
    }

    private static func header(
        of shared: SharedBytes, size: Int, file: String
    ) throws(LLaDAError) -> (object: JSONObject, end: Int) {
        let bytes = shared.bytes
        if let description = WrongFile.description(bytes) { throw LLaDAError(.safetensors, "\(file) \(description)") }
        if bytes.count < 8 {
            throw LLaDAError(
                .safetensors, "\(file): has \(bytes.count) bytes; expected at least the 8 of the header's length")
        }
        // No header is as long as eight characters say, if they are taken for a number.
        let start = bytes.prefix(8)
        if start.allSatisfy({ 0x20..<0x7F ~= $0 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }) {
            let text = JSONString(String(decoding: bytes.prefix(40), as: UTF8.self))
            throw LLaDAError(
                .safetensors, "\(file): is a text that begins \(text.quoted); expected the header of safetensors")
        }
        guard let length = length(bytes) else {
            let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
            throw LLaDAError(
                .safetensors, "\(file): the header's length is \(length); at most \(maximumHeader) is allowed")
        }
        if length > size - 8 {
            throw LLaDAError(
                .safetensors,
                "\(file): the header's length is \(length); the file has only \(size - 8) bytes after it")
        }
        if length > bytes.count - 8 { throw LLaDAError(.io, "\(file) ends early, in its header") }
        let header = UnsafeRawBufferPointer(rebasing: bytes[8..<8 + length])
        guard header.first == UInt8(ascii: "{") else {
            throw LLaDAError(.safetensors, "\(file): the header does not begin with '{'")
        }
        do throws(LLaDAError) {
            // The format pads the header with spaces, which JSON takes for white space.
            let text = SharedBytes(header, owner: shared.owner)
            guard case .object(let object) = try JSON.parse(text, file: "\(file): header") else {
                throw LLaDAError(.safetensors, "\(file): the header is no JSON object")
            }
            return (object, 8 + length)
        } catch {
            // Bad JSON inside a safetensors file is a bad safetensors file.
            throw error.status == .json ? LLaDAError(.safetensors, error.message) : error
        }
    }
}

/// The element types of the format. The engine computes with a few of them, but checking a file needs the size of each.
package enum SafetensorsType: String, Sendable, CaseIterable, BitwiseCopyable {
    case bool = "BOOL"
    case u8 = "U8", i8 = "I8", u16 = "U16", i16 = "I16", u32 = "U32", i32 = "I32", u64 = "U64", i64 = "I64"
    case f4 = "F4", f6E2M3 = "F6_E2M3", f6E3M2 = "F6_E3M2"
    case f8E5M2 = "F8_E5M2", f8E4M3 = "F8_E4M3", f8E8M0 = "F8_E8M0", f8E5M2FNUZ = "F8_E5M2FNUZ", f8E4M3FNUZ =
        "F8_E4M3FNUZ"
    case f16 = "F16", bf16 = "BF16", f32 = "F32", f64 = "F64", c64 = "C64"

    /// The number format that the engine reads the type as; nil for all other types, bytes and scales among them.
    package var numberFormat: NumberFormat? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .f8E4M3: .f8E4M3
        default: nil
        }
    }

    package var bits: Int {
        switch self {
        case .f4: 4
        case .f6E2M3, .f6E3M2: 6
        case .bool, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E5M2FNUZ, .f8E4M3FNUZ: 8
        case .u16, .i16, .f16, .bf16: 16
        case .u32, .i32, .f32: 32
        case .u64, .i64, .f64, .c64: 64
        }
    }
}

/// A check of each member of a header against the rules of the format.
private struct HeaderParser: Sendable {
    let file: String
    /// The place where the data begin, and the number of bytes of data in the file.
    let base: Int
    let dataCount: Int

    func error(_ problem: String) -> LLaDAError { LLaDAError(.safetensors, "\(file): \(problem)") }

    func error(_ name: JSONString, _ key: String, found: String, expected: String) -> LLaDAError {
        LLaDAError(.safetensors, file: file, key: "tensor \(name.quoted): \(key)", found: found, expected: expected)
    }

    func metadata(_ value: JSON) throws(LLaDAError) -> [(key: JSONString, value: JSONString)] {
        guard case .object(let object) = value else {
            throw error("__metadata__ is \(value.summary); expected an object of strings")
        }
        let room = try Reserve.Room(256 * min(object.members.count, Safetensors.maximumMetadata))
        defer { room.close() }
        var metadata: [(key: JSONString, value: JSONString)] = []
        for (key, value) in object.members {
            try Reserve.check()
            if metadata.count == Safetensors.maximumMetadata {
                throw error(
                    "__metadata__ is \(object.members.count) strings; at most \(metadata.count) are accepted")
            }
            guard case .string(let text) = value else {
                throw error("__metadata__: \(key.quoted) is \(value.summary); expected a string")
            }
            metadata.append((key, text))
        }
        return metadata
    }

    func entry(
        _ name: JSONString, _ value: JSON
    ) throws(LLaDAError) -> (type: SafetensorsType, shape: [Int], bytes: Range<Int>) {
        guard case .object(let object) = value else {
            throw error("tensor \(name.quoted) is \(value.summary); expected an object")
        }
        for (key, _) in object.members where key != "dtype" && key != "shape" && key != "data_offsets" {
            throw error("tensor \(name.quoted) has an unknown field \(key.quoted)")
        }
        guard let dtype = object["dtype"] else { throw error("tensor \(name.quoted) has no dtype") }
        guard let shape = object["shape"] else { throw error("tensor \(name.quoted) has no shape") }
        guard let offsets = object["data_offsets"] else { throw error("tensor \(name.quoted) has no data_offsets") }
        let type = try self.type(name, dtype)
        let dimensions = try naturals(name, "shape", shape)
        return (type, dimensions, try range(name, offsets, expected: try byteCount(name, type, dimensions)))
    }

    private static let types = SafetensorsType.allCases.map { (name: JSONString($0.rawValue), type: $0) }

    private func type(_ name: JSONString, _ value: JSON) throws(LLaDAError) -> SafetensorsType {
        guard case .string(let text) = value else {
            throw error(name, "dtype", found: value.summary, expected: "a string")
        }
        guard let type = Self.types.first(where: { text == $0.name })?.type else {
            throw LLaDAError(
                .unsupported, file: file, key: "tensor \(name.quoted): dtype", found: text.quoted,
                expected: "a type of the format as of safetensors 0.7")
        }
        return type
    }

    private func naturals(_ name: JSONString, _ key: String, _ value: JSON) throws(LLaDAError) -> [Int] {
        guard case .array(let values) = value else {
            throw error(name, key, found: value.summary, expected: "an array of whole numbers")
        }
        var naturals: [Int] = []
        for element in values {
            if naturals.count == Safetensors.maximumRank {
                throw error(name, key, found: value.summary, expected: "at most \(Safetensors.maximumRank) numbers")
            }
            guard case .integer(let number) = element, number >= 0 else {
                throw error(
                    name, key, found: "an array with \(element.summary)", expected: "whole numbers of at least 0")
            }
            naturals.append(number)
        }
        return naturals
    }

    private func byteCount(_ name: JSONString, _ type: SafetensorsType, _ shape: [Int]) throws(LLaDAError) -> Int {
        var bits = type.bits
        for dimension in shape {
            let (product, overflow) = bits.multipliedReportingOverflow(by: dimension)
            if overflow { throw error(name, "shape", found: "\(shape)", expected: "a size that fits 64 bits") }
            bits = product
        }
        if bits % 8 != 0 { throw error(name, "shape", found: "\(shape) of \(type.rawValue)", expected: "whole bytes") }
        return bits / 8
    }

    private func range(_ name: JSONString, _ value: JSON, expected: Int) throws(LLaDAError) -> Range<Int> {
        let offsets = try naturals(name, "data_offsets", value)
        if offsets.count != 2 {
            throw error(name, "data_offsets", found: value.summary, expected: "an array of 2: begin and end")
        }
        let (begin, end) = (offsets[0], offsets[1])
        if begin > end {
            throw error(name, "data_offsets", found: "\(offsets)", expected: "a begin that is not behind the end")
        }
        if end - begin != expected {
            throw error(
                name, "data_offsets", found: "\(offsets), \(end - begin) bytes",
                expected: "the \(expected) bytes of its shape and dtype")
        }
        if end > dataCount {
            throw error(
                """
                tensor \(name.quoted) ends at byte \(end) of the data, but the file has only \(dataCount): it is cut \
                short
                """
            )
        }
        return base + begin..<base + end
    }

    /// Refuses a gap, which could hide something, a byte that belongs to two tensors, and bytes after the last tensor.
    func checkContiguous(_ entries: Safetensors.Entries) throws(LLaDAError) {
        var end = base
        for index in entries.indices {
            let bytes = entries.bytes(index)
            let begin = bytes.lowerBound
            if begin > end {
                throw error(
                    """
                    a hole of \(begin - end) bytes before tensor \(entries.name(index).quoted), which begins at \
                    \(begin - base)
                    """)
            }
            if begin < end {
                throw error(
                    """
                    tensor \(entries.name(index).quoted) begins at \(begin - base), inside the one before it, which \
                    ends at \(end - base)
                    """
                )
            }
            end = bytes.upperBound
        }
        if end != base + dataCount {
            throw error("\(base + dataCount - end) bytes follow the last tensor; expected the end of the file")
        }
    }
}
