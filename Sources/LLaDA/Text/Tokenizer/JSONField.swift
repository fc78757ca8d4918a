/// A value of `tokenizer.json` with its place, so that every refusal can name it.
struct JSONField {
    let file: String
    let key: String
    /// `.null` also when the key is missing: `tokenizer.json` makes no difference, nor does its author's reader.
    let value: JSON

    subscript(name: StaticString) -> JSONField {
        let value: JSON =
            if case .object(let object) = value { object[JSONString(stringLiteral: name)] ?? .null } else { .null }
        return JSONField(file: file, key: key.isEmpty ? "\(name)" : "\(key).\(name)", value: value)
    }

    subscript(index: Int, value: JSON) -> JSONField { JSONField(file: file, key: "\(key)[\(index)]", value: value) }

    var isNull: Bool { if case .null = value { true } else { false } }

    /// An error about this value: it contradicts the rest of the file, or the format.
    func wrong(_ expected: String) -> LLaDAError {
        LLaDAError(.tokenizer, file: file, key: key, found: value.summary, expected: expected)
    }

    /// An error about this value: it means something that is not implemented.
    func unsupported(_ expected: String) -> LLaDAError {
        LLaDAError(.unsupported, file: file, key: key, found: value.summary, expected: expected)
    }

    func object() throws(LLaDAError) -> JSONObject {
        guard case .object(let object) = value else { throw wrong("an object") }
        return object
    }

    func array() throws(LLaDAError) -> JSONArray {
        guard case .array(let array) = value else { throw wrong("an array") }
        return array
    }

    func string() throws(LLaDAError) -> JSONString {
        guard case .string(let string) = value else { throw wrong("a string") }
        return string
    }

    func bool(default fallback: Bool? = nil) throws(LLaDAError) -> Bool {
        if let fallback, isNull { return fallback }
        guard case .bool(let bool) = value else { throw wrong("true or false") }
        return bool
    }

    func integer(in range: Range<Int>) throws(LLaDAError) -> Int {
        guard case .integer(let integer) = value, range.contains(integer) else {
            throw wrong("an integer from \(range.lowerBound) to \(range.upperBound - 1)")
        }
        return integer
    }
}
