/// A table from names to their numbers. The names stay where they are: whoever asks says which name a number has.
struct NameTable: @unchecked Sendable {  // its owner writes before it shares it
    private let hash: SecretHash
    /// Open addressing, at most two thirds full: the upper half of the hash, and the number plus one; 0 for nothing.
    private let places: Buffer<UInt64>

    /// Makes a table for up to `capacity` names, fewer than 2^32. Throws `.outOfMemory`.
    init(capacity: Int, hash: SecretHash = SecretHash()) throws(LLaDAError) {
        self.hash = hash
        places = try Buffer(count: capacity + capacity / 2 + 2, repeating: 0)
    }

    /// The bytes of memory.
    var byteCount: Int { places.byteCount }

    /// Adds a name. Returns the number that the name has already, and then adds nothing.
    func insert(_ name: JSONString, _ number: Int, nameOf: (Int) -> JSONString) -> Int? {
        let (place, hash) = place(of: name, nameOf)
        if let other = self.number(at: place) { return other }
        places.pointer[place] = hash & ~0xFFFF_FFFF | UInt64(number + 1)
        return nil
    }

    /// Returns the number of a name; nil if it is not there.
    func find(_ name: JSONString, nameOf: (Int) -> JSONString) -> Int? { number(at: place(of: name, nameOf).place) }

    private func number(at place: Int) -> Int? {
        let number = places.pointer[place] & 0xFFFF_FFFF
        return number == 0 ? nil : Int(number) - 1
    }

    /// Returns the place where a name is, or, if it is not there, would be.
    private func place(of name: JSONString, _ nameOf: (Int) -> JSONString) -> (place: Int, hash: UInt64) {
        let hash = name.withBytes { self.hash($0) }
        var place = Int(((hash & 0xFFFF_FFFF) * UInt64(places.count)) >> 32)
        while let number = number(at: place) {
            if places.pointer[place] >> 32 == hash >> 32, nameOf(number) == name { break }
            place = place + 1 == places.count ? 0 : place + 1
        }
        return (place, hash)
    }
}

/// How many names there are, and the first three of them in their order: what a message shows of many.
struct NameSample {
    private(set) var count = 0
    private(set) var first: [JSONString] = []

    mutating func add(_ name: JSONString) {
        count += 1
        if first.count == 3, !name.precedes(first[2]) { return }
        first.insert(name, at: first.firstIndex { name.precedes($0) } ?? first.count)
        if first.count > 3 { first.removeLast() }
    }

    /// "3 tensors" and "a, b, c and 2 more".
    var phrases: (tensors: String, names: String) {
        let rest = count > first.count ? " and \(count - first.count) more" : ""
        return ("\(count) tensor\(count == 1 ? "" : "s")", first.map(\.string).joined(separator: ", ") + rest)
    }
}
