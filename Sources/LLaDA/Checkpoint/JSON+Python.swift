extension JSON {
    /// Returns the value as Python writes it, `json.dumps(value, ensure_ascii=False)`, in UTF-8. Chat templates render
    /// tools and calls of tools so, and models were trained on that text.
    package var pythonText: [UInt8] {
        var text: [UInt8] = []
        write(to: &text)
        return text
    }

    private func write(to text: inout [UInt8]) {
        switch self {
        case .null: text += "null".utf8
        case .bool(let value): text += (value ? "true" : "false").utf8
        case .integer(let value): text += "\(value)".utf8
        case .largeInteger(let digits): digits.withBytes { text += $0 }
        case .double(let value): text += Self.pythonText(of: value).utf8
        case .string(let value): value.withBytes { Self.append($0, to: &text) }
        case .array(let values):
            text += "[".utf8
            for (place, value) in values.enumerated() {
                if place > 0 { text += ", ".utf8 }
                value.write(to: &text)
            }
            text += "]".utf8
        case .object(let object):
            text += "{".utf8
            for (place, member) in object.members.enumerated() {
                if place > 0 { text += ", ".utf8 }
                member.key.withBytes { Self.append($0, to: &text) }
                text += ": ".utf8
                member.value.write(to: &text)
            }
            text += "}".utf8
        }
    }

    /// Writes a string in quotes. Bytes that are no UTF-8 stay as they are, and whoever parses the text refuses them.
    @inline(never)
    static func append(_ string: some Sequence<UInt8>, to text: inout some TextSink) {
        text.append(UInt8(ascii: "\""))
        for byte in string {
            switch byte {
            case UInt8(ascii: "\""): text.append(contentsOf: "\\\"".utf8)
            case UInt8(ascii: "\\"): text.append(contentsOf: "\\\\".utf8)
            case 0x08: text.append(contentsOf: "\\b".utf8)
            case 0x09: text.append(contentsOf: "\\t".utf8)
            case 0x0A: text.append(contentsOf: "\\n".utf8)
            case 0x0C: text.append(contentsOf: "\\f".utf8)
            case 0x0D: text.append(contentsOf: "\\r".utf8)
            case 0..<0x20:
                text.append(contentsOf: "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    /// Python's `repr` of a float: the shortest digits that give the number back, with an exponent below 1e-4 and from
    /// 1e16 on. Swift finds the same digits and lays them out in another way.
    @inline(never)
    static func pythonText(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
        let sign = value.sign == .minus ? "-" : ""
        let parts = value.magnitude.description.split(separator: "e")
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        var digits = Array(mantissa.joined())
        // The number is 0.DIGITS times ten to the power of `point`.
        var point = mantissa[0].count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        while digits.count > 1, digits.first == "0" {
            digits.removeFirst()
            point -= 1
        }
        while digits.count > 1, digits.last == "0" { digits.removeLast() }
        if digits == ["0"] { return sign + "0.0" }
        if !(-3...16 ~= point) {
            let exponent = point - 1
            let fraction = digits.count > 1 ? "." + String(digits.dropFirst()) : ""
            let size = exponent.magnitude
            return "\(sign)\(digits[0])\(fraction)e\(exponent < 0 ? "-" : "+")\(size < 10 ? "0" : "")\(size)"
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + String(digits) }
        let whole = String(digits.prefix(point)) + String(repeating: "0", count: max(0, point - digits.count))
        let fraction = String(digits.dropFirst(point))
        return sign + whole + "." + (fraction.isEmpty ? "0" : fraction)
    }
}

/// What a text is written to.
protocol TextSink {
    mutating func append(_ byte: UInt8)
    mutating func append(contentsOf bytes: some Sequence<UInt8>)
}

extension [UInt8]: TextSink {}

/// A text that is too large for an array that grows: it is written twice, first to be counted, then into memory of its
/// size.
struct CountedText: TextSink {
    private let base: UnsafeMutablePointer<UInt8>?
    private var count = 0

    /// Returns the text that `write` writes, the same each time, in memory that counts towards
    /// `budget`. Throws `.outOfMemory`, and what `check` throws of the
    /// number of bytes.
    static func make(
        in budget: MemoryBudget?, check: (Int) throws(LLaDAError) -> Void,
        _ write: (inout CountedText) throws(LLaDAError) -> Void
    ) throws(LLaDAError) -> SharedBytes {
        var counted = CountedText(base: nil)
        try write(&counted)
        try check(counted.count)
        let buffer = try Buffer<UInt8>(count: counted.count, in: budget)
        var written = CountedText(base: buffer.pointer)
        try write(&written)
        return SharedBytes(buffer)
    }

    private init(base: UnsafeMutablePointer<UInt8>?) { self.base = base }

    mutating func append(_ byte: UInt8) {
        base?[count] = byte
        count += 1
    }

    mutating func append(contentsOf bytes: some Sequence<UInt8>) { for byte in bytes { append(byte) } }
}
