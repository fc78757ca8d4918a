/// The bytes of all tokens in one allocation, and a hash table from bytes to id.
struct TokenBytes: Sendable {
    private var storage: [UInt8] = []
    /// Where each id's bytes end; those of id n begin where those of n - 1 end.
    private var ends: [Int]
    /// Ids; -1 for an empty place. A power of two, at most half full.
    private var places: [Int32]

    /// `tokens[id]` is nil for ids without a token. Of equal tokens the first in `order` is found.
    init(_ tokens: [[UInt8]?], order: some Sequence<Int32>) {
        ends = []
        ends.reserveCapacity(tokens.count)
        for token in tokens {
            if let token { storage += token }
            ends.append(storage.count)
        }
        var size = 16
        while size < tokens.count * 2 { size *= 2 }
        // Local: an array that is written while `self` is being read is copied at each write.
        var places = [Int32](repeating: -1, count: size)
        self.places = []
        for id in order {
            let place = withBytes(of: id) { bytes in self.place(of: bytes, in: places) }
            if places[place] < 0 { places[place] = id }
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
        let id = places[place(of: bytes, in: places)]
        return id < 0 ? nil : id
    }

    /// Where the id of these bytes is, or, if there is none, would be.
    private func place(of bytes: UnsafeBufferPointer<UInt8>, in places: [Int32]) -> Int {
        var place = Int(truncatingIfNeeded: Self.hash(bytes)) & (places.count - 1)
        while places[place] >= 0, !equal(bytes, places[place]) { place = (place + 1) & (places.count - 1) }
        return place
    }

    private func equal(_ bytes: UnsafeBufferPointer<UInt8>, _ id: Int32) -> Bool {
        withBytes(of: id) { $0.count == bytes.count && $0.elementsEqual(bytes) }
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
