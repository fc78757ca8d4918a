/// A JSON document, read as strictly as RFC 8259 demands, and kept as bytes.
///
/// Checkpoints come from strangers. Everything that two readers could understand differently (duplicate keys, lone
/// surrogates, NaN, text after the end) is refused and never interpreted.
package enum JSON: Sendable {
    case null
    case bool(Bool)
    /// A number without fraction or exponent that fits an `Int`.
    case integer(Int)
    /// Any other number. It is always finite.
    case double(Double)
    case string(JSONString)
    case array([JSON])
    case object(JSONObject)

    /// The deepest nesting of arrays and objects. The limit keeps parsing and freeing a document from exhausting the
    /// stack.
    package static let maximumDepth = 128

    /// Parses a whole document. `file` is only its name in error messages. Throws `.json`.
    package static func parse(_ bytes: UnsafeRawBufferPointer, file: String) throws(LLaDAError) -> JSON {
        var parser = JSONParser(bytes, file: file)
        return try parser.document()
    }

    package static func parse(_ bytes: [UInt8], file: String) throws(LLaDAError) -> JSON {
        try bytes.withUnsafeBufferPointer { (buffer) throws(LLaDAError) in
            try parse(UnsafeRawBufferPointer(buffer), file: file)
        }
    }

    /// A description of this value for error messages: a scalar in full, a container by its kind.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .double(let value): "\(value)"
        case .string(let value): value.quoted
        case .array(let values): "an array of \(values.count)"
        case .object(let object): "an object of \(object.members.count)"
        }
    }
}

/// A string of a JSON document: valid UTF-8, compared and hashed byte by byte.
///
/// Swift's `String ==` is canonical equivalence: it takes "é" and "e" + U+0301 for the same key. Two tokens of a
/// vocabulary may differ in just that.
package struct JSONString: Hashable, Sendable, ExpressibleByStringLiteral {
    package let bytes: [UInt8]

    /// Makes a string of `bytes`, which must be valid UTF-8. Every string of a parsed document is valid UTF-8.
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package init(_ string: String) { self.bytes = Array(string.utf8) }
    package init(stringLiteral value: StaticString) {
        self.bytes = value.withUTF8Buffer { Array($0) }
    }

    package var string: String { String(decoding: bytes, as: UTF8.self) }

    /// The string in quotes, for error messages. It is escaped and cut, because a stranger wrote it and a terminal may
    /// show it.
    package var quoted: String {
        var text = "\""
        var rest = string.unicodeScalars.makeIterator()
        for _ in 0..<80 {
            guard let scalar = rest.next() else { return text + "\"" }
            text += scalar.escaped(asASCII: false)
        }
        return rest.next() == nil ? text + "\"" : text + "…\""
    }

    package static func == (a: JSONString, b: JSONString) -> Bool {
        a.bytes.withUnsafeBytes { a in
            b.bytes.withUnsafeBytes { b in a.count == b.count && a.elementsEqual(b) }
        }
    }

    // The synthesised version feeds the hasher one byte at a time, which is ten times slower over a vocabulary.
    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(0xFF as UInt8)
    }
}

/// The members of a JSON object, in the order of the file, each key once.
package struct JSONObject: Sendable {
    package private(set) var members: [(key: JSONString, value: JSON)] = []
    /// The place of each key in `members`; empty while a linear search is cheaper.
    private var places: [JSONString: Int] = [:]
    private static let linearLimit = 8

    package init() {}

    package subscript(key: JSONString) -> JSON? {
        guard let place = place(of: key) else { return nil }
        return members[place].value
    }

    /// Adds a member. Returns false, and adds nothing, if the key is already there.
    mutating func append(_ key: JSONString, _ value: JSON) -> Bool {
        if members.count < Self.linearLimit {
            if place(of: key) != nil { return false }
        } else {
            if places.isEmpty {
                for (place, member) in members.enumerated() { places[member.key] = place }
            }
            if let first = places.updateValue(members.count, forKey: key) {
                places[key] = first
                return false
            }
        }
        members.append((key, value))
        return true
    }

    private func place(of key: JSONString) -> Int? {
        if members.count <= Self.linearLimit { return members.firstIndex { $0.key == key } }
        return places[key]
    }
}
