/// Functions on bytes that are UTF-8 text.
enum UTF8Text {
    /// Returns the scalar at `position` of valid UTF-8, and its length in bytes.
    @inline(__always)
    static func scalar(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> (value: UInt32, length: Int) {
        let first = UInt32(text[position])
        if first < 0x80 { return (first, 1) }
        if first < 0xE0 { return ((first & 0x1F) << 6 | continuation(text, position + 1), 2) }
        if first < 0xF0 {
            return (
                (first & 0x0F) << 12 | continuation(text, position + 1) << 6 | continuation(text, position + 2), 3
            )
        }
        return (
            (first & 0x07) << 18 | continuation(text, position + 1) << 12 | continuation(text, position + 2) << 6
                | continuation(text, position + 3), 4
        )
    }

    @inline(__always)
    private static func continuation(_ text: UnsafeBufferPointer<UInt8>, _ position: Int) -> UInt32 {
        // Bounds are checked even though valid text never ends inside a scalar.
        position < text.count ? UInt32(text[position] & 0x3F) : 0
    }

    static func append(_ value: UInt32, to bytes: inout [UInt8]) {
        switch value {
        case ..<0x80: bytes.append(UInt8(value))
        case ..<0x800:
            bytes.append(0xC0 | UInt8(truncatingIfNeeded: value >> 6))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value & 0x3F))
        case ..<0x10000:
            bytes.append(0xE0 | UInt8(truncatingIfNeeded: value >> 12))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value >> 6 & 0x3F))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value & 0x3F))
        default:
            bytes.append(0xF0 | UInt8(truncatingIfNeeded: value >> 18 & 0x07))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value >> 12 & 0x3F))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value >> 6 & 0x3F))
            bytes.append(0x80 | UInt8(truncatingIfNeeded: value & 0x3F))
        }
    }

    /// The kind of text at a position.
    enum Unit: Equatable {
        /// A scalar of that many bytes.
        case scalar(Int)
        /// A maximal subpart of an ill-formed sequence, of that many bytes; more bytes cannot repair it.
        case broken(Int)
        /// The beginning of a scalar whose end is missing: the bytes from here to the end of the text.
        case incomplete(Int)
    }

    /// Returns the unit at `position`, by table 3-7 of the Unicode standard.
    @inline(__always)
    static func unit(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> Unit {
        let first = text[position]
        if first < 0x80 { return .scalar(1) }
        let length: Int
        var allowed: ClosedRange<UInt8> = 0x80...0xBF  // for the second byte
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, allowed) = (3, 0xA0...0xBF)
        case 0xED: (length, allowed) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, allowed) = (4, 0x90...0xBF)
        case 0xF1...0xF3: length = 4
        case 0xF4: (length, allowed) = (4, 0x80...0x8F)
        default: return .broken(1)
        }
        for offset in 1..<length {
            guard position + offset < text.count else { return .incomplete(offset) }
            guard allowed.contains(text[position + offset]) else { return .broken(offset) }
            allowed = 0x80...0xBF
        }
        return .scalar(length)
    }

    /// Returns the number of leading bytes that are valid UTF-8.
    static func validPrefix(_ text: UnsafeBufferPointer<UInt8>) -> Int {
        var position = 0
        let raw = UnsafeRawBufferPointer(text)
        while position < text.count {
            while position + 8 <= text.count,
                raw.loadUnaligned(fromByteOffset: position, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
            {
                position += 8
            }
            guard position < text.count else { break }
            guard case .scalar(let length) = unit(text, at: position) else { return position }
            position += length
        }
        return position
    }

    /// Returns the number of leading bytes that more bytes cannot change: all but those of a scalar that is cut off.
    static func completeLength(_ text: UnsafeBufferPointer<UInt8>) -> Int {
        for length in 1...3 where length <= text.count {
            if case .incomplete(length) = unit(text, at: text.count - length) { return text.count - length }
        }
        return text.count
    }

    /// Returns the text with U+FFFD in place of each maximal subpart of an ill-formed sequence; nil if the text is
    /// valid. `String(decoding:as:)`, Python's `errors="replace"` and Rust's `from_utf8_lossy` do the same.
    /// Throws `.outOfMemory`.
    static func repaired(_ text: UnsafeBufferPointer<UInt8>) throws(LLaDAError) -> [UInt8]? {
        var position = validPrefix(text)
        guard position < text.count else { return nil }
        var result: [UInt8] = []
        try result.makeRoom(for: text.count + 16)
        result += text[..<position]
        while position < text.count {
            try result.makeRoom(for: 4)
            switch unit(text, at: position) {
            case .scalar(let length):
                result += text[position..<position + length]
                position += length
            case .broken(let length), .incomplete(let length):
                append(0xFFFD, to: &result)
                position += length
            }
        }
        return result
    }

    /// Returns the text as a string, repaired. Throws `.outOfMemory`.
    static func string(_ bytes: ArraySlice<UInt8>) throws(LLaDAError) -> String {
        // U+FFFD has three bytes, and may stand for one; the storage doubles.
        try Reserve.withRoom(64 + 8 * bytes.count) { () throws(LLaDAError) in String(decoding: bytes, as: UTF8.self) }
    }
}
