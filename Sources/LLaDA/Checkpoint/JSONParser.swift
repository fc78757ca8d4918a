/// The check of a document, in one pass over its bytes. The position never leaves `0...text.count`, and every read is
/// behind `peek` or an explicit check against the count.
///
/// Memory: the bytes of strings with escapes, eight bytes for each key of the objects that are open at a time, and what
/// `JSONDocument` keeps.
struct JSONParser: ~Copyable {
    private let text: UnsafeBufferPointer<UInt8>
    private let file: String
    private let rules: JSON.Rules
    private var position = 0
    private let hash = SecretHash()
    /// The arrays and objects that are open.
    private let frames: Buffer<Frame>
    private var depth = 0
    /// The keys of the objects that are open: the upper half of the hash, and the place. Nil before the first key.
    private var keys: Buffer<UInt64>?
    private var keyCount = 0
    private var unescaped: Buffer<UInt8>?
    private var skips = GrowingBuffer<JSONDocument.Skip>()
    private var replacements = GrowingBuffer<JSONDocument.Replacement>()

    private struct Frame: BitwiseCopyable {
        var start: Int
        /// Into `keys`.
        var firstKey: Int
        var isObject: Bool
    }

    /// The least bytes of a member of an object: two quotes, a colon, a digit, and a comma or the brace.
    private static let leastMember = 5

    private init(_ bytes: UnsafeRawBufferPointer, file: String, rules: JSON.Rules) throws(LLaDAError) {
        text = bytes.assumingMemoryBound(to: UInt8.self)
        self.file = file
        self.rules = rules
        frames = try Buffer(count: JSON.maximumDepth)
    }

    static func document(_ shared: SharedBytes, file: String, rules: JSON.Rules) throws(LLaDAError) -> JSONDocument {
        let count = shared.bytes.count
        if count > JSON.maximumSize {
            throw LLaDAError(.json, "\(file): has \(count) bytes; at most \(JSON.maximumSize) are accepted")
        }
        var parser = try JSONParser(shared.bytes, file: file, rules: rules)
        defer { withExtendedLifetime(shared.owner) {} }
        try parser.check()
        parser.skips.elements.sortInPlace { $0.start < $1.start }
        parser.replacements.elements.sortInPlace { $0.key < $1.key }
        return JSONDocument(
            shared, rules, unescaped: parser.unescaped, skips: try parser.skips.finished(),
            replacements: try parser.replacements.finished())
    }

    private mutating func check() throws(LLaDAError) {
        if text.starts(with: [0xEF, 0xBB, 0xBF]) { throw error("a byte order mark, which JSON does not have") }
        var isValueExpected = true
        while isValueExpected {
            skipSpace()
            guard let byte = peek else { throw error("\(found) where a value is expected") }
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if try open(byte == UInt8(ascii: "{")) { continue }
            case UInt8(ascii: "\""): try string()
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
            case UInt8(ascii: "t"): try literal("true")
            case UInt8(ascii: "f"): try literal("false")
            case UInt8(ascii: "n"): try literal("null")
            case UInt8(ascii: "N") where matches("NaN"): try notFinite("NaN")
            case UInt8(ascii: "I") where matches("Infinity"): try notFinite("Infinity")
            default: throw error("\(found) where a value is expected")
            }
            isValueExpected = try goesOn()
        }
        skipSpace()
        if position < text.count { throw error("\(found) after the end of the document") }
    }

    // MARK: Arrays and objects

    /// Opens an array or object. Returns whether a value of it follows; otherwise it is closed again.
    private mutating func open(_ isObject: Bool) throws(LLaDAError) -> Bool {
        if depth == JSON.maximumDepth { throw error("nested deeper than \(JSON.maximumDepth) levels") }
        frames.pointer[depth] = Frame(start: position, firstKey: keyCount, isObject: isObject)
        depth += 1
        position += 1
        skipSpace()
        if take(isObject ? "}" : "]") {
            try close()
            return false
        }
        if isObject { try key() }
        return true
    }

    /// Goes on behind a value. Returns whether another one follows; otherwise the document has ended.
    private mutating func goesOn() throws(LLaDAError) -> Bool {
        while depth > 0 {
            let isObject = frames.pointer[depth - 1].isObject
            skipSpace()
            if take(",") {
                if isObject { try key() }
                return true
            }
            if !take(isObject ? "}" : "]") {
                throw error("\(found) where ',' or '\(isObject ? "}" : "]")' is expected")
            }
            try close()
        }
        return false
    }

    private mutating func close() throws(LLaDAError) {
        depth -= 1
        let frame = frames.pointer[depth]
        if frame.isObject { try checkKeys(from: frame.firstKey) }
        if position - frame.start >= JSONDocument.leastSkipped {
            try skips.append(.init(start: UInt32(frame.start), end: UInt32(position)))
        }
    }

    /// Takes a key and its colon.
    private mutating func key() throws(LLaDAError) {
        skipSpace()
        if peek != UInt8(ascii: "\"") { throw error("\(found) where a key in quotes is expected") }
        let start = position
        try string()
        let keys: Buffer<UInt64>
        if let own = self.keys { keys = own } else { keys = try Buffer(count: text.count / Self.leastMember + 1) }
        self.keys = keys
        keys.pointer[keyCount] = hash(bytes(ofString: start)) & 0xFFFF_FFFF << 32 | UInt64(start)
        keyCount += 1
        skipSpace()
        if !take(":") { throw error("\(found) where ':' is expected") }
    }

    /// Returns the bytes of the string whose opening quote is here, and which was checked.
    private func bytes(ofString place: Int) -> UnsafeBufferPointer<UInt8> {
        let (end, count) = JSONDocument.stringEnd(text, place)
        if let count, let unescaped { return UnsafeBufferPointer(start: unescaped.pointer + place, count: count) }
        return UnsafeBufferPointer(rebasing: text[place + 1..<end - 1])
    }

    /// Looks for equal keys among those of an object, which are the last ones, and takes them away.
    private mutating func checkKeys(from first: Int) throws(LLaDAError) {
        defer { keyCount = first }
        guard let keys, keyCount - first > 1 else { return }
        let own = UnsafeMutableBufferPointer(rebasing: keys.elements[first..<keyCount])
        own.sortInPlace(by: <)
        var duplicate: Int?
        var start = 0
        while start < own.count {
            var end = start + 1
            while end < own.count, own[end] >> 32 == own[start] >> 32 { end += 1 }
            if end - start > 1 { try compare(own, start..<end, &duplicate) }
            start = end
        }
        if let duplicate {
            let key = JSONString(bytes(ofString: duplicate))
            throw error("duplicate key \(key.quoted)", at: duplicate)
        }
    }

    /// Compares keys that have one hash, in the order of their places. Of equal ones, the first gets the value of the
    /// last, or `duplicate` becomes the place of the second.
    private mutating func compare(
        _ keys: UnsafeMutableBufferPointer<UInt64>, _ range: Range<Int>, _ duplicate: inout Int?
    ) throws(LLaDAError) {
        for index in range {
            let place = Self.place(keys[index])
            let before = nearest(to: place, keys[range.lowerBound..<index])
            if before != nil, rules == .strict {
                duplicate = min(duplicate ?? place, place)
            } else if before != nil {
                try replacements.append(.init(key: UInt32(place), value: 0))
            } else if rules == .python, let last = nearest(to: place, keys[index + 1..<range.upperBound]) {
                var value = JSONDocument.stringEnd(text, last).end
                while Self.isSpace(text[value]) || text[value] == UInt8(ascii: ":") { value += 1 }
                try replacements.append(.init(key: UInt32(place), value: UInt32(value)))
            }
        }
    }

    private static func place(_ key: UInt64) -> Int { Int(key & 0xFFFF_FFFF) }

    /// Returns the place of the last of some keys that equals the one at `place`.
    private func nearest(to place: Int, _ keys: Slice<UnsafeMutableBufferPointer<UInt64>>) -> Int? {
        let key = bytes(ofString: place)
        return keys.last { bytes(ofString: Self.place($0)).equals(key) }.map(Self.place)
    }

    // MARK: Numbers and names

    private mutating func literal(_ text: StaticString) throws(LLaDAError) {
        if !matches(text) { throw error("\(found) does not begin \(text)") }
        position += text.utf8CodeUnitCount
    }

    private mutating func number() throws(LLaDAError) {
        let start = position
        _ = take("-")
        if matches("Infinity") { return try notFinite("Infinity") }
        if !Self.isDigit(peek) { throw error("\(found) where a digit is expected") }
        if take("0") {
            if Self.isDigit(peek) { throw error("a number with a leading zero", at: start) }
        } else {
            while Self.isDigit(peek) { position += 1 }
        }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        let number = UnsafeBufferPointer(rebasing: text[start..<position])
        if number.count > JSON.maximumNumber {
            throw error(
                "a number of \(number.count) characters; at most \(JSON.maximumNumber) are accepted", at: start)
        }
        // What is short and has no exponent is small enough.
        if rules == .strict, number.count > 18 || number.contains(where: { $0 | 0x20 == UInt8(ascii: "e") }),
            JSONNumber.double(number) == nil
        {
            throw error("a number too large for a double", at: start)
        }
    }

    private mutating func digits() throws(LLaDAError) {
        if !Self.isDigit(peek) { throw error("\(found) where a digit is expected") }
        while Self.isDigit(peek) { position += 1 }
    }

    static func isDigit(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private mutating func notFinite(_ text: StaticString) throws(LLaDAError) {
        if rules == .strict { throw error("NaN or Infinity, which Python writes but JSON does not have") }
        try literal(text)
    }

    // MARK: Strings

    /// Returns the place of the first byte from here on that is a quote, a backslash, a control character, or of a
    /// character beyond ASCII.
    @inline(__always)
    static func plainEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        let raw = UnsafeRawBufferPointer(text)
        var position = start
        while position + 8 <= raw.count {
            let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            // The top bit of each byte that is one of these. Borrows reach only bytes behind one that is.
            let quotes = word ^ (ones &* 0x22)
            let backslashes = word ^ (ones &* 0x5C)
            let found =
                (quotes &- ones) & ~quotes | (backslashes &- ones) & ~backslashes | (word &- ones &* 0x20) & ~word
                | word
            if found & tops != 0 { return position + (found & tops).trailingZeroBitCount / 8 }
            position += 8
        }
        while position < text.count {
            let byte = text[position]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 || byte >= 0x80 { break }
            position += 1
        }
        return position
    }

    /// Takes a string. One with escapes gets its bytes into `unescaped`.
    private mutating func string() throws(LLaDAError) {
        let quote = position
        position += 1
        var start = position  // of the bytes that are not yet in `unescaped`
        var end: Int?  // of the string in `unescaped`
        while true {
            position = Self.plainEnd(text, position)
            guard let byte = peek else { throw error("the end of the file within a string") }
            switch byte {
            case UInt8(ascii: "\""):
                if let end { _ = keep(start..<position, at: end) }
                position += 1
                return
            case UInt8(ascii: "\\"):
                if unescaped == nil { unescaped = try Buffer(count: text.count) }
                let place = keep(start..<position, at: end ?? quote)
                end = try escape(to: place)
                start = position
            case 0..<0x20: throw error("an unescaped control character \(found) in a string")
            default: try multibyte(byte)
            }
        }
    }

    /// Copies a part of the text to a place of `unescaped`, which is not behind it. Returns the place behind the copy.
    private func keep(_ part: Range<Int>, at place: Int) -> Int {
        guard let unescaped, let base = text.baseAddress else { return place }
        (unescaped.pointer + place).update(from: base + part.lowerBound, count: part.count)
        return place + part.count
    }

    /// Steps over one multi-byte character by table 3-7 of the Unicode standard (no overlong forms, no surrogates).
    private mutating func multibyte(_ lead: UInt8) throws(LLaDAError) {
        let second: ClosedRange<UInt8>
        let length: Int
        switch lead {
        case 0xC2...0xDF: (second, length) = (0x80...0xBF, 2)
        case 0xE0: (second, length) = (0xA0...0xBF, 3)
        case 0xED: (second, length) = (0x80...0x9F, 3)
        case 0xE1...0xEF: (second, length) = (0x80...0xBF, 3)
        case 0xF0: (second, length) = (0x90...0xBF, 4)
        case 0xF1...0xF3: (second, length) = (0x80...0xBF, 4)
        case 0xF4: (second, length) = (0x80...0x8F, 4)
        default: throw error("invalid UTF-8")
        }
        guard text.count - position >= length, second.contains(text[position + 1]) else {
            throw error("invalid UTF-8")
        }
        for place in 2..<max(2, length) where text[position + place] & 0xC0 != 0x80 { throw error("invalid UTF-8") }
        position += length
    }

    /// Takes an escape, and writes the bytes that it stands for. Returns the place behind them. An escape is longer
    /// than these, so they do not reach what is still to be copied.
    private mutating func escape(to place: Int) throws(LLaDAError) -> Int {
        let start = position
        position += 1  // the backslash
        if peek == UInt8(ascii: "u") {
            position += 1
            let scalar = try unicodeEscape(from: start)
            var end = place
            for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                unescaped?.pointer[end] = byte
                end += 1
            }
            return end
        }
        guard let letter = peek, let byte = JSONEscape.byte(of: letter) else {
            throw error("an unknown escape", at: start)
        }
        unescaped?.pointer[place] = byte
        position += 1
        return place + 1
    }

    private mutating func unicodeEscape(from start: Int) throws(LLaDAError) -> Unicode.Scalar {
        var code = try fourHexDigits()
        if code & 0xFC00 == 0xD800, matches("\\u") {
            position += 2
            let low = try fourHexDigits()
            if low & 0xFC00 != 0xDC00 { throw error("a lone surrogate", at: start) }
            code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF)
        }
        // Surrogates are the only 16-bit codes that are not scalars.
        guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate", at: start) }
        return scalar
    }

    private mutating func fourHexDigits() throws(LLaDAError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = JSONEscape.digit(byte) else {
                throw error("\(found) where a hexadecimal digit is expected")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    // MARK: Bytes

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        if peek != UInt8(ascii: character) { return false }
        position += 1
        return true
    }

    private func matches(_ name: StaticString) -> Bool {
        text[position...].starts(with: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    private mutating func skipSpace() {
        while position < text.count, Self.isSpace(text[position]) { position += 1 }
    }

    // MARK: Errors

    /// The current byte, for messages.
    private var found: String {
        guard let byte = peek else { return "the end of the file" }
        if byte > 0x20 && byte < 0x7F { return "'\(Unicode.Scalar(byte))'" }
        return "byte 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))"
    }

    private func error(_ problem: String) -> LLaDAError { error(problem, at: position) }

    /// Makes an error. Line and column are counted only here, from the start of the document, so that correct files do
    /// not pay for them. Columns count characters, not bytes, as editors do.
    private func error(_ problem: String, at place: Int) -> LLaDAError {
        let before = text[..<place]
        let line = before.count { $0 == 0x0A } + 1
        let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let column = before[lineStart...].count { $0 & 0xC0 != 0x80 } + 1
        return LLaDAError(.json, "\(file): line \(line), column \(column): \(problem)")
    }
}
