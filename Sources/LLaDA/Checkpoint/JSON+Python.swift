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
        case .largeInteger(let digits): text += digits.bytes
        case .double(let value): text += Self.pythonText(of: value).utf8
        case .string(let value): Self.append(value.bytes, to: &text)
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
                Self.append(member.key.bytes, to: &text)
                text += ": ".utf8
                member.value.write(to: &text)
            }
            text += "}".utf8
        }
    }

    /// Writes a string in quotes. Bytes that are no UTF-8 stay as they are, and whoever parses the text refuses them.
    @inline(never)
    static func append(_ string: some Sequence<UInt8>, to text: inout [UInt8]) {
        text += "\"".utf8
        for byte in string {
            switch byte {
            case UInt8(ascii: "\""): text += "\\\"".utf8
            case UInt8(ascii: "\\"): text += "\\\\".utf8
            case 0x08: text += "\\b".utf8
            case 0x09: text += "\\t".utf8
            case 0x0A: text += "\\n".utf8
            case 0x0C: text += "\\f".utf8
            case 0x0D: text += "\\r".utf8
            case 0..<0x20: text += "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8
            default: text.append(byte)
            }
        }
        text += "\"".utf8
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
