// Until the other parts have landed: what they bring, in short.

extension TensorSource {
    var notes: [String] { [] }
}

extension ChatTemplate {
    var isKnownLayout: Bool { (try? encode([], generationPrompt: true)) != nil }
    var layoutReason: String { "" }
}

extension SpecialTokens {
    struct Found {
        struct Source { let name: String }
        let mask: (id: Int32, source: Source)?
        let ends: (ids: [Int32], source: Source)?
        let notes: [String] = []
    }
}

extension JSON {
    var pythonText: [UInt8] {
        switch self {
        case .null: Array("null".utf8)
        case .bool(let value): Array((value ? "true" : "false").utf8)
        case .integer(let value): Array("\(value)".utf8)
        case .double(let value): Array("\(value)".utf8)
        case .string(let value): Self.quoted(value)
        case .array(let values):
            Array("[".utf8) + Array(values.map(\.pythonText).joined(separator: ", ".utf8)) + Array("]".utf8)
        case .object(let object):
            Array("{".utf8)
                + Array(
                    object.members.map { Self.quoted($0.key) + Array(": ".utf8) + $0.value.pythonText }.joined(
                        separator: ", ".utf8)) + Array("}".utf8)
        }
    }

    private static func quoted(_ string: JSONString) -> [UInt8] {
        var text = Array("\"".utf8)
        for byte in string.bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
            case 0..<0x20: text += "\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8
            default: text.append(byte)
            }
        }
        return text + Array("\"".utf8)
    }
}
