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
    package let entries: [Entry]
    /// The members of `__metadata__`, in the order of the file.
    package let metadata: [(key: JSONString, value: JSONString)]

    /// The format's own limit on the header, in bytes.
    package static let maximumHeader = 100_000_000
    package static let maximumRank = 16
    /// The most tensors of a file. LLaDA2-flash has 24,161.
    package static let maximumTensors = 1_000_000

    /// Reads the header of a file, which messages call `name`. Throws `.safetensors`, or `.unsupported` for an unknown
    /// element type, and `.io`.
    package init(_ file: InputFile, name: String) throws(LLaDAError) {
        let prefix = try FilePrefix(file)
        try prefix.reach(8)
        if let length = Self.length(prefix.bytes) { try prefix.reach(8 + length) }
        self = try withExtendedLifetime(prefix) { () throws(LLaDAError) in
            try Safetensors(prefix.bytes, size: file.size, file: name)
        }
    }

    /// Returns the length of the header as the first bytes say, if it may be as long.
    private static func length(_ bytes: UnsafeRawBufferPointer) -> Int? {
        if bytes.count < 8 { return nil }
        return Int(exactly: UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)))
            .flatMap { $0 <= maximumHeader ? $0 : nil }
    }

    /// Reads the header from the first `bytes` of a file, all of which has `size` bytes; without a size, it has no
    /// more. `file` is only its name in error messages.
    package init(_ bytes: UnsafeRawBufferPointer, size: Int? = nil, file: String) throws(LLaDAError) {
        let size = size ?? bytes.count
        let header = try Self.header(of: bytes, size: size, file: file)
        let parser = HeaderParser(file: file, base: header.end, dataCount: size - header.end)
        var entries: [Entry] = []
        var metadata: [(key: JSONString, value: JSONString)] = []
        entries.reserveCapacity(header.object.members.count)
        for (name, value) in header.object.members {
            if name == "__metadata__" {
                metadata = try parser.metadata(value)
            } else {
                entries.append(try parser.entry(name, value))
            }
        }
        if entries.count > Self.maximumTensors {
            throw parser.error("has \(entries.count) tensors; at most \(Self.maximumTensors) are accepted")
        }
        // A tensor without elements ends where it begins, and must come before its neighbour at the same place.
        entries.sort { ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound) }
        try parser.checkContiguous(entries)
        self.entries = entries
        self.metadata = metadata
    }

    private static func header(
        of bytes: UnsafeRawBufferPointer, size: Int, file: String
    ) throws(LLaDAError) -> (object: JSONObject, end: Int) {
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
            guard case .object(let object) = try JSON.parse(header, file: "\(file): header") else {
                throw LLaDAError(.safetensors, "\(file): the header is no JSON object")
            }
            return (object, 8 + length)
        } catch {
            // Bad JSON inside a safetensors file is a bad safetensors file.
            throw LLaDAError(.safetensors, error.message)
        }
    }
}

/// The element types of the format. The engine computes with a few of them, but checking a file needs the size of each.
package enum SafetensorsType: String, Sendable, CaseIterable {
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
private struct HeaderParser {
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
        var metadata: [(key: JSONString, value: JSONString)] = []
        for (key, value) in object.members {
            guard case .string(let text) = value else {
                throw error("__metadata__: \(key.quoted) is \(value.summary); expected a string")
            }
            metadata.append((key, text))
        }
        return metadata
    }

    func entry(_ name: JSONString, _ value: JSON) throws(LLaDAError) -> Safetensors.Entry {
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
        return Safetensors.Entry(
            name: name, type: type, shape: dimensions,
            bytes: try range(name, offsets, expected: try byteCount(name, type, dimensions)))
    }

    private func type(_ name: JSONString, _ value: JSON) throws(LLaDAError) -> SafetensorsType {
        guard case .string(let text) = value else {
            throw error(name, "dtype", found: value.summary, expected: "a string")
        }
        guard let type = SafetensorsType(rawValue: text.string) else {
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
        if values.count > Safetensors.maximumRank {
            throw error(name, key, found: value.summary, expected: "at most \(Safetensors.maximumRank) numbers")
        }
        var naturals: [Int] = []
        for value in values {
            guard case .integer(let number) = value, number >= 0 else {
                throw error(name, key, found: "an array with \(value.summary)", expected: "whole numbers of at least 0")
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
    func checkContiguous(_ entries: [Safetensors.Entry]) throws(LLaDAError) {
        var end = base
        for entry in entries {
            let begin = entry.bytes.lowerBound
            if begin > end {
                throw error(
                    "a hole of \(begin - end) bytes before tensor \(entry.name.quoted), which begins at \(begin - base)"
                )
            }
            if begin < end {
                throw error(
                    """
                    tensor \(entry.name.quoted) begins at \(begin - base), inside the one before it, which ends at \
                    \(end - base)
                    """
                )
            }
            end = entry.bytes.upperBound
        }
        if end != base + dataCount {
            throw error("\(base + dataCount - end) bytes follow the last tensor; expected the end of the file")
        }
    }
}
