/// A value of a JSON document, read as strictly as RFC 8259 demands.
///
/// Checkpoints come from strangers. Everything that two readers could understand differently (duplicate keys, lone
/// surrogates, NaN, text after the end) is refused and never interpreted. A value is made when it is asked for, from
/// the text of the document (`JSONDocument`), which it keeps.
package enum JSON: Sendable {
    case null
    case bool(Bool)
    /// A number without fraction or exponent that fits an `Int`.
    case integer(Int)
    /// An integer that does not fit an `Int`, as it is written. Only `.python` has it.
    case largeInteger(JSONString)
    /// Any other number. It is finite, unless the rules are `.python`.
    case double(Double)
    case string(JSONString)
    case array(JSONArray)
    case object(JSONObject)

    /// The deepest nesting of arrays and objects.
    package static let maximumDepth = 128

    /// The largest document, in bytes.
    package static let maximumSize = Int(UInt32.max) - 1

    /// The longest number, in characters. (CPython reads integers of at most 4,300 digits.)
    package static let maximumNumber = 4096

    /// What is a document.
    package enum Rules: Sendable {
        /// RFC 8259, and nothing that two readers could understand differently.
        case strict
        /// What Python's `json.loads` accepts: of equal keys, the last value at the place of the first; integers of any
        /// size; NaN and infinities. Lone surrogates are refused all the same.
        case python
    }

    /// Checks a whole document, and returns its value, which keeps the bytes. `file` is only its name in error
    /// messages. Throws `.json`, or `.outOfMemory`.
    package static func parse(
        _ text: SharedBytes, file: String, rules: Rules = .strict
    ) throws(LLaDAError) -> JSON {
        if let description = WrongFile.description(text.bytes) {
            throw LLaDAError(.json, "\(file) \(description)")
        }
        return try JSONParser.document(text, file: file, rules: rules).value
    }

    /// The same of a copy of the bytes.
    package static func parse(_ bytes: [UInt8], file: String, rules: Rules = .strict) throws(LLaDAError) -> JSON {
        try parse(try SharedBytes(copying: bytes), file: file, rules: rules)
    }

    /// The bytes of all strings, and of all else as it is written at most.
    package var byteCount: Int {
        switch self {
        case .null, .bool, .integer, .double: 32
        case .largeInteger(let text), .string(let text): 32 + text.bytes.count
        case .array(let values): values.reduce(32) { $0 + $1.byteCount }
        case .object(let object): object.members.reduce(32) { $0 + 32 + $1.key.bytes.count + $1.value.byteCount }
        }
    }

    /// A description of this value for error messages: a scalar in full, a container by its kind.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .largeInteger(let digits): digits.bytes.count <= 80 ? digits.string : "an integer of many digits"
        case .double(let value): "\(value)"
        case .string(let value): value.quoted
        case .array(let values): "an array of \(values.count)"
        case .object(let object): "an object of \(object.members.count)"
        }
    }
}
