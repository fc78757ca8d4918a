/// A JSON document, as strict as RFC 8259 and as bytes.
///
/// Checkpoints come from strangers: everything that two readers could understand differently (duplicate keys, lone
/// surrogates, NaN, text after the end) is refused instead of interpreted.
package enum JSON: Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction or exponent that fits an `Int`.
    case integer(Int)
    /// Any other number; always finite.
    case double(Double)
    case string(JSONString)
    case array([JSON])
    case object(JSONObject)

    /// Arrays and objects may be nested this deep, so that neither parsing nor freeing a document can exhaust the
    /// stack.
    package static let maximumDepth = 128

    /// Parses a whole document; `file` is only its name in error messages.
    package static func parse(_ bytes: UnsafeRawBufferPointer, file: String) throws(LLaDAError) -> JSON {
        var parser = JSONParser(bytes, file: file)
        return try parser.document()
    }

    package static func parse(_ bytes: [UInt8], file: String) throws(LLaDAError) -> JSON {
        try bytes.withUnsafeBufferPointer { (buffer) throws(LLaDAError) in
            try parse(UnsafeRawBufferPointer(buffer), file: file)
        }
    }

    /// What this value is, for error messages: scalars in full, containers by kind.
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

    /// `bytes` must be valid UTF-8; every string of a parsed document is.
    package init(_ bytes: [UInt8]) { self.bytes = bytes }
    package init(_ string: String) { self.bytes = Array(string.utf8) }
    package init(stringLiteral value: StaticString) {
        self.bytes = value.withUTF8Buffer { Array($0) }
    }

    package var string: String { String(decoding: bytes, as: UTF8.self) }

    /// The string in quotes for error messages: escaped and cut, since a stranger wrote it and a terminal may show it.
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

    // The synthesised version feeds the hasher one byte at a time: ten times slower over a vocabulary.
    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(0xFF as UInt8)
    }
}

/// The members of a JSON object in the order of the file, each key once.
package struct JSONObject: Sendable {
    package private(set) var members: [(key: JSONString, value: JSON)] = []
    /// Key to place in `members`; empty while a linear search is cheaper.
    private var places: [JSONString: Int] = [:]
    private static let linearLimit = 8

    package init() {}

    package subscript(key: JSONString) -> JSON? {
        guard let place = place(of: key) else { return nil }
        return members[place].value
    }

    /// False, and nothing added, when the key is already there.
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
