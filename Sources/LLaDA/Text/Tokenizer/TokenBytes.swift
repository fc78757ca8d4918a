/// The bytes of all tokens in one allocation, and a hash table from bytes to id.
///
/// A look-up in a large table waits for memory and for nothing else, so the table is as small as can be.
struct TokenBytes: Sendable {
    private var storage: [UInt8] = []
    /// Where each id's bytes end; those of id n begin where those of n - 1 end.
    private var ends: [Int] = []
    private var places: [Place] = []

    /// A place of the table: the id, and some bits of the hash, which tell most tokens apart without their bytes.
    private struct Place: Sendable {
        private var word: UInt32 = 0  // 1, 7 bits of the hash, 24 of the id (TokenizerParts.idLimit); 0: empty

        init() {}
        init(_ id: Int32, _ hash: UInt64) { word = Self.mark(hash) | UInt32(truncatingIfNeeded: id) & 0xFF_FFFF }

        var isEmpty: Bool { word == 0 }
        var id: Int32 { Int32(word & 0xFF_FFFF) }
        func mayHave(_ hash: UInt64) -> Bool { word & 0xFF00_0000 == Self.mark(hash) }

        private static func mark(_ hash: UInt64) -> UInt32 {
            0x8000_0000 | UInt32(truncatingIfNeeded: hash >> 33) & 0x7F00_0000
        }
    }

    /// `tokens[id]` is nil for ids without a token. Of equal tokens the first is found.
    init(_ tokens: [[UInt8]?]) {
        let ids = fill(tokens) { _, token, storage in
            storage += token
            return true
        }
        index(ids.first)
    }

    /// The same of tokens in the byte alphabet, which stand for the bytes that their characters stand for. A token of
    /// `except`, and one with a character outside the alphabet, stands for its own bytes; of equal tokens it is found
    /// last.  except: by id
    init(inByteAlphabet tokens: [[UInt8]?], except: [Bool]) {
        let ids = fill(tokens) { id, token, storage in
            let isInAlphabet = !except[id] && ByteLevel.append(token, to: &storage)
            if !isInAlphabet { storage += token }
            return isInAlphabet
        }
        index(ids.first + ids.last)
    }

    /// Appends all tokens to the storage. Returns the ids for which `append` said true, and the others.
    private mutating func fill(
        _ tokens: [[UInt8]?], append: (Int, [UInt8], inout [UInt8]) -> Bool
    ) -> (first: [Int32], last: [Int32]) {
        var ids: (first: [Int32], last: [Int32]) = ([], [])
        ids.first.reserveCapacity(tokens.count)
        ends.reserveCapacity(tokens.count)
        storage.reserveCapacity(8 * tokens.count)
        for (id, token) in tokens.enumerated() {
            if let token {
                if append(id, token, &storage) { ids.first.append(Int32(id)) } else { ids.last.append(Int32(id)) }
            }
            ends.append(storage.count)
        }
        return ids
    }

    private mutating func index(_ ids: [Int32]) {
        var size = 16
        while size * 2 < ids.count * 3 { size *= 2 }  // at most two thirds full
        // Local: an array that is written while `self` is being read is copied at each write.
        var places = [Place](repeating: Place(), count: size)
        for id in ids {
            withBytes(of: id) { bytes in
                let hash = Self.hash(bytes)
                let place = place(of: bytes, hash, in: places)
                if places[place].isEmpty { places[place] = Place(id, hash) }
            }
        }
        self.places = places
    }

    /// Ids are checked by the caller to be in `0..<count`; others have no bytes.
    func withBytes<R>(of id: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
        guard id >= 0, Int(id) < ends.count else { return try body(UnsafeBufferPointer(start: nil, count: 0)) }
        let start = id == 0 ? 0 : ends[Int(id) - 1]
        return try storage.withUnsafeBufferPointer {
            try body(UnsafeBufferPointer(rebasing: $0[start..<ends[Int(id)]]))
        }
    }

    func id(of bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
        let found = places[place(of: bytes, Self.hash(bytes), in: places)]
        return found.isEmpty ? nil : found.id
    }

    /// Where the id of these bytes is, or, if there is none, would be.
    private func place(of bytes: UnsafeBufferPointer<UInt8>, _ hash: UInt64, in places: [Place]) -> Int {
        places.withUnsafeBufferPointer { places in
            var place = Int(truncatingIfNeeded: hash) & (places.count - 1)
            while !places[place].isEmpty {
                if places[place].mayHave(hash), matches(places[place].id, bytes) { break }
                place = (place + 1) & (places.count - 1)
            }
            return place
        }
    }

    /// Whether the token with this id has these bytes.
    func matches(_ id: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        withBytes(of: id) { own in
            guard own.count == bytes.count else { return false }
            let (own, bytes) = (UnsafeRawBufferPointer(own), UnsafeRawBufferPointer(bytes))
            var position = 0
            while position + 8 <= own.count {
                if own.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                    != bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                {
                    return false
                }
                position += 8
            }
            while position < own.count {
                if own[position] != bytes[position] { return false }
                position += 1
            }
            return true
        }
    }

    /// Eight bytes at a time; good enough for tables whose keys no attacker chooses, and for a cache that may miss.
    @inline(__always)
    static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let raw = UnsafeRawBufferPointer(bytes)
        var hash: UInt64 = 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: bytes.count)
        var position = 0
        while position + 8 <= raw.count {
            hash = mix(hash ^ raw.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            position += 8
        }
        var rest: UInt64 = 0
        while position < raw.count {
            rest = rest << 8 | UInt64(raw[position])
            position += 1
        }
        return mix(hash ^ rest)
    }

    @inline(__always)
    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        return product.high ^ product.low
    }
}
