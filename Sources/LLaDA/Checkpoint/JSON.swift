/// A JSON document, read as strictly as RFC 8259 demands, and kept as bytes.
///
/// Checkpoints come from strangers. Everything that two readers could understand differently (duplicate keys, lone
/// surrogates, NaN, text after the end) is refused and never interpreted.
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
    case array([JSON])
    case object(JSONObject)

    /// The deepest nesting of arrays and objects. The limit keeps parsing and freeing a document from exhausting the
    /// stack.
    package static let maximumDepth = 128

    /// The largest document, in bytes.
    package static let maximumSize = Int(UInt32.max)

    /// What is a document.
    package enum Rules: Sendable {
        /// RFC 8259, and nothing that two readers could understand differently.
        case strict
        /// What Python's `json.loads` accepts: of equal keys, the last value at the place of the first; integers of any
        /// size; NaN and infinities. Lone surrogates are refused all the same.
        case python
    }

    /// Parses a whole document. `file` is only its name in error messages. Throws `.json`.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer, file: String, rules: Rules = .strict
    ) throws(LLaDAError) -> JSON {
        if let description = WrongFile.description(bytes) {
            throw LLaDAError(.json, "\(file) \(description)")
        }
        var parser = JSONParser(bytes, file: file, rules: rules)
        return try parser.document()
    }

    package static func parse(_ bytes: [UInt8], file: String, rules: Rules = .strict) throws(LLaDAError) -> JSON {
        try bytes.withUnsafeBufferPointer { (buffer) throws(LLaDAError) in
            try parse(UnsafeRawBufferPointer(buffer), file: file, rules: rules)
        }
    }

    /// A description of this value for error messages: a scalar in full, a container by its kind.
    package var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .largeInteger(let digits): digits.string
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

    // The synthesised version feeds the hasher one byte at a time, which is ten times slower over a vocabulary.
    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(0xFF as UInt8)
    }
}

/// The members of a JSON object, in the order of the file, each key once.
package struct JSONObject: Sendable {
    package private(set) var members: [(key: JSONString, value: JSON)] = []
    /// Where the members are, by the hashes of their keys: open addressing, at most two thirds full, a power of two.
    /// Empty while a linear search is cheaper. A dictionary would hold the keys a second time, and touch them whenever
    /// it grows.
    private var slots: [Slot] = []
    private static let linearLimit = 8

    private struct Slot: Sendable {
        var hash: UInt32 = 0
        /// The place in `members`, plus one; 0 for an empty slot. It fits: see `JSON.maximumSize`.
        var next: UInt32 = 0
    }

    package init() {}

    package subscript(key: JSONString) -> JSON? {
        place(of: key).map { members[$0].value }
    }

    /// Adds a member. Returns false, and adds nothing, if the key is already there.
    mutating func append(_ key: JSONString, _ value: JSON) -> Bool {
        if members.count < Self.linearLimit {
            if members.contains(where: { $0.key == key }) { return false }
        } else {
            if slots.isEmpty { fill() }
            if 2 * slots.count < 3 * (members.count + 1) { grow() }
            let hash = Self.hash(key)
            let slot = slot(of: key, hash)
            if slots[slot].next != 0 { return false }
            slots[slot] = Slot(hash: hash, next: UInt32(members.count + 1))
        }
        members.append((key, value))
        return true
    }

    /// Gives the member of this key, which is there, another value.
    mutating func replace(_ key: JSONString, _ value: JSON) {
        if let place = place(of: key) { members[place].value = value }
    }

    private func place(of key: JSONString) -> Int? {
        if members.count <= Self.linearLimit { return members.firstIndex { $0.key == key } }
        let next = Int(slots[slot(of: key, Self.hash(key))].next)
        return next == 0 ? nil : next - 1
    }

    /// A process's hashes are its own, so that no file can be written whose keys all fall into one slot.
    private static func hash(_ key: JSONString) -> UInt32 { UInt32(truncatingIfNeeded: key.hashValue) }

    /// Returns the slot of the key, or, if there is none, the empty one where it belongs.
    private func slot(of key: JSONString, _ hash: UInt32) -> Int {
        slots.withUnsafeBufferPointer { slots in
            let mask = slots.count - 1
            var slot = Int(hash) & mask
            while slots[slot].next != 0, slots[slot].hash != hash || members[Int(slots[slot].next) - 1].key != key {
                slot = (slot + 1) & mask
            }
            return slot
        }
    }

    private mutating func fill() {
        slots = Array(repeating: Slot(), count: 4 * Self.linearLimit)
        for (place, member) in members.enumerated() {
            let hash = Self.hash(member.key)
            slots[slot(of: member.key, hash)] = Slot(hash: hash, next: UInt32(place + 1))
        }
    }

    private mutating func grow() {
        var grown = [Slot](repeating: Slot(), count: 2 * slots.count)
        for slot in slots where slot.next != 0 {
            var place = Int(slot.hash) & (grown.count - 1)
            while grown[place].next != 0 { place = (place + 1) & (grown.count - 1) }
            grown[place] = slot
        }
        slots = grown
    }
}
