/// A parser that makes one pass over the bytes of a document. The position never leaves `0...bytes.count`, and every
/// read is behind `peek` or an explicit check against the count.
struct JSONParser {
    private let bytes: UnsafeRawBufferPointer
    private let file: String
    private let rules: JSON.Rules
    private var position = 0
    private var depth = 0

    init(_ bytes: UnsafeRawBufferPointer, file: String, rules: JSON.Rules = .strict) {
        self.bytes = bytes
        self.file = file
        self.rules = rules
    }

    mutating func document() throws(LLaDAError) -> JSON {
        if bytes.count > JSON.maximumSize {
            throw LLaDAError(.json, "\(file): has \(bytes.count) bytes; at most \(JSON.maximumSize) are accepted")
        }
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { throw error("a byte order mark, which JSON does not have") }
        let value = try value()
        skipSpace()
        if position < bytes.count { throw error("\(found) after the end of the document") }
        return value
    }

    // MARK: Values

    private mutating func value() throws(LLaDAError) -> JSON {
        skipSpace()
        guard let byte = peek else { throw error("\(found) where a value is expected") }
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if depth == JSON.maximumDepth { throw error("nested deeper than \(JSON.maximumDepth) levels") }
            depth += 1
            defer { depth -= 1 }
            position += 1
            return byte == UInt8(ascii: "{") ? .object(try object()) : .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "N") where matches("NaN"): return try notFinite("NaN", .nan)
        case UInt8(ascii: "I") where matches("Infinity"): return try notFinite("Infinity", .infinity)
        default: throw error("\(found) where a value is expected")
        }
    }

    private mutating func object() throws(LLaDAError) -> JSONObject {
        var object = JSONObject()
        skipSpace()
        if take("}") { return object }
        while true {
            skipSpace()
            if peek != UInt8(ascii: "\"") { throw error("\(found) where a key in quotes is expected") }
            let start = position
            let key = try string()
            skipSpace()
            if !take(":") { throw error("\(found) where ':' is expected") }
            try add(key, try value(), to: &object, from: start)
            skipSpace()
            if take(",") { continue }
            if take("}") { return object }
            throw error("\(found) where ',' or '}' is expected")
        }
    }

    /// Kept out of `object`, whose frames stack up, as those of `value` do.
    @inline(never)
    private func add(
        _ key: JSONString, _ value: JSON, to object: inout JSONObject, from start: Int
    ) throws(LLaDAError) {
        if object.append(key, value) { return }
        if rules == .strict { throw error("duplicate key \(key.quoted)", at: start) }
        object.replace(key, value)
    }

    private mutating func array() throws(LLaDAError) -> [JSON] {
        var values: [JSON] = []
        skipSpace()
        if take("]") { return values }
        while true {
            values.append(try value())
            skipSpace()
            if take(",") { continue }
            if take("]") { return values }
            throw error("\(found) where ',' or ']' is expected")
        }
    }

    @inline(never)
    private mutating func literal(_ text: StaticString, _ value: JSON) throws(LLaDAError) -> JSON {
        if !matches(text) { throw error("\(found) does not begin \(text)") }
        position += text.utf8CodeUnitCount
        return value
    }

    // MARK: Numbers

    @inline(never)
    private mutating func number() throws(LLaDAError) -> JSON {
        let start = position
        let negative = take("-")
        if matches("Infinity") { return try notFinite("Infinity", -.infinity) }
        var exact: Int? = 0
        var isInteger = true
        if !isDigit(peek) { throw error("\(found) where a digit is expected") }
        if take("0") {
            if isDigit(peek) { throw error("a number with a leading zero", at: start) }
        } else {
            while let digit = peek, isDigit(digit) {
                exact = exact.flatMap { appending(digit, to: $0, negative: negative) }
                position += 1
            }
        }
        if take(".") {
            isInteger = false
            try digits()
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            try digits()
        }
        if isInteger, let exact { return .integer(exact) }
        if isInteger, rules == .python { return .largeInteger(JSONString(Array(bytes[start..<position]))) }
        // Double(String) rounds correctly and depends on no locale. strtod would follow the locale of the host.
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text), value.isFinite || rules == .python else {
            throw error("a number too large for a double", at: start)
        }
        return .double(value)
    }

    /// Appends a digit; nil if the number no longer fits. Negative numbers are built downwards, so that `Int.min` fits
    /// too.
    private func appending(_ digit: UInt8, to value: Int, negative: Bool) -> Int? {
        let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
        if overflow { return nil }
        let units = Int(digit &- UInt8(ascii: "0"))
        let (sum, carried) =
            negative ? tenfold.subtractingReportingOverflow(units) : tenfold.addingReportingOverflow(units)
        return carried ? nil : sum
    }

    private mutating func digits() throws(LLaDAError) {
        if !isDigit(peek) { throw error("\(found) where a digit is expected") }
        while isDigit(peek) { position += 1 }
    }

    private func isDigit(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    @inline(never)
    private mutating func notFinite(_ text: StaticString, _ value: Double) throws(LLaDAError) -> JSON {
        if rules == .strict { throw error("NaN or Infinity, which Python writes but JSON does not have") }
        return try literal(text, .double(value))
    }

    // MARK: Strings

    private mutating func string() throws(LLaDAError) -> JSONString {
        position += 1  // the opening quote
        var start = position
        // This array stays empty, without storage, for most strings: a string without an escape is one copy.
        var unescaped: [UInt8] = []
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                let tail = bytes[start..<position]
                position += 1
                if unescaped.isEmpty { return JSONString(Array(tail)) }
                return JSONString(unescaped + tail)
            case UInt8(ascii: "\\"):
                unescaped.append(contentsOf: bytes[start..<position])
                try escape(into: &unescaped)
                start = position
            case 0..<0x20: throw error("an unescaped control character \(found) in a string")
            case 0x20..<0x80: position += 1
            default: try multibyte(byte)
            }
        }
        throw error("the end of the file within a string")
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
        guard bytes.count - position >= length, second.contains(bytes[position + 1]) else {
            throw error("invalid UTF-8")
        }
        for place in 2..<max(2, length) where bytes[position + place] & 0xC0 != 0x80 { throw error("invalid UTF-8") }
        position += length
    }

    private mutating func escape(into text: inout [UInt8]) throws(LLaDAError) {
        let start = position
        position += 1  // the backslash
        switch peek {
        case UInt8(ascii: "\""): text.append(UInt8(ascii: "\""))
        case UInt8(ascii: "\\"): text.append(UInt8(ascii: "\\"))
        case UInt8(ascii: "/"): text.append(UInt8(ascii: "/"))
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            position += 1
            text.append(contentsOf: try unicodeEscape(from: start))
            return
        default: throw error("an unknown escape", at: start)
        }
        position += 1
    }

    private mutating func unicodeEscape(from start: Int) throws(LLaDAError) -> [UInt8] {
        var code = try fourHexDigits()
        if code & 0xFC00 == 0xD800, matches("\\u") {
            position += 2
            let low = try fourHexDigits()
            if low & 0xFC00 != 0xDC00 { throw error("a lone surrogate", at: start) }
            code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF)
        }
        // Surrogates are the only 16-bit codes that are not scalars.
        guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate", at: start) }
        return Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }

    private mutating func fourHexDigits() throws(LLaDAError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            let digit: UInt8
            switch peek {
            case .some(let byte) where isDigit(byte): digit = byte - UInt8(ascii: "0")
            case .some(let byte) where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"): digit = byte - 87
            case .some(let byte) where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"): digit = byte - 55
            default: throw error("\(found) where a hexadecimal digit is expected")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    // MARK: Bytes

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        if peek != UInt8(ascii: character) { return false }
        position += 1
        return true
    }

    private func matches(_ text: StaticString) -> Bool {
        bytes[position...].starts(with: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
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
        let before = bytes[..<place]
        let line = before.count { $0 == 0x0A } + 1
        let lineStart = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        let column = before[lineStart...].count { $0 & 0xC0 != 0x80 } + 1
        return LLaDAError(.json, "\(file): line \(line), column \(column): \(problem)")
    }
}
