/// The bytes of all tokens, one after another, and a hash table from bytes to id.
///
/// A look-up in a large table waits for memory and for nothing else, so the table is as small as can be.
struct TokenBytes: @unchecked Sendable {  // it never changes
    /// How a token is written.
    enum Spelling {
        /// As it is.
        case plain(JSONString)
        /// In the byte alphabet: a token stands for the bytes that its characters stand for. One with a character
        /// outside the alphabet stands for its own bytes, and of equal tokens it is found last.
        case alphabet(JSONString)
        /// The same, but one with a character outside the alphabet is left out.
        case alphabetAlone(JSONString)
    }

    private let storage: Buffer<UInt8>
    /// Where each id's bytes end; those of id n begin where those of n - 1 end.  [ids]
    private let ends: Buffer<UInt32>
    private let places: Buffer<TaggedPlace>
    private let hash: SecretHash
    /// The length of the longest token, in bytes.
    let longest: Int

    /// Takes the tokens with the ids from 0 to `count` - 1; `spelling` returns nil for an id without a token. Of equal
    /// tokens the first is found. The texts have `byteCount` bytes together, or fewer. Throws `.outOfMemory`.
    init(
        count: Int, byteCount: Int, hash: SecretHash = SecretHash(), _ spelling: (Int) -> Spelling?
    ) throws(LLaDAError) {
        storage = try Buffer(count: byteCount)
        ends = try Buffer(count: count)
        self.hash = hash
        let (first, last) = (try BitSet(count: count), try BitSet(count: count))
        var (end, found, longest) = (0, 0, 0)
        for id in 0..<count {
            let start = end
            switch spelling(id) {
            case nil: break
            case .plain(let text):
                end += Self.copy(text, to: storage.pointer + end)
                last.insert(id)
            case .alphabet(let text):
                if let count = ByteLevel.decode(text, into: storage.pointer + end) {
                    end += count
                    first.insert(id)
                } else {
                    end += Self.copy(text, to: storage.pointer + end)
                    last.insert(id)
                }
            case .alphabetAlone(let text):
                guard let count = ByteLevel.decode(text, into: storage.pointer + end) else { break }
                end += count
                first.insert(id)
            }
            ends.pointer[id] = UInt32(end)
            longest = max(longest, end - start)
        }
        found = first.members + last.members
        self.longest = longest
        places = try TaggedPlace.places(for: found)
        for ids in [first, last] {
            for id in 0..<count where ids[id] {
                withBytes(of: Int32(id)) { bytes in
                    let hash = hash(bytes)
                    let place = place(of: bytes, hash)
                    if places.pointer[place].isEmpty { places.pointer[place] = TaggedPlace(Int32(id), hash) }
                }
            }
        }
    }

    private static func copy(_ text: JSONString, to place: UnsafeMutablePointer<UInt8>) -> Int {
        text.withBytes { bytes in
            if let base = bytes.baseAddress { place.update(from: base, count: bytes.count) }
            return bytes.count
        }
    }

    /// The bytes of memory.
    var byteCount: Int { storage.byteCount + ends.byteCount + places.byteCount }

    /// Ids are checked by the caller to be in `0..<count`; others have no bytes.
    @inline(__always)
    func withBytes<R, Failure: Error>(
        of id: Int32, _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> R
    ) throws(Failure) -> R {
        guard id >= 0, Int(id) < ends.count else { return try body(UnsafeBufferPointer(start: nil, count: 0)) }
        let start = id == 0 ? 0 : Int(ends.pointer[Int(id) - 1])
        return try body(
            UnsafeBufferPointer(start: storage.pointer + start, count: Int(ends.pointer[Int(id)]) - start))
    }

    func id(of bytes: UnsafeBufferPointer<UInt8>) -> Int32? {
        let found = places.pointer[place(of: bytes, hash(bytes))]
        return found.isEmpty ? nil : found.number
    }

    /// Where the id of these bytes is, or, if there is none, would be.
    private func place(of bytes: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int {
        let places = places.elements
        var place = TaggedPlace.first(hash, places)
        while !places[place].isEmpty {
            if places[place].mayHave(hash), matches(places[place].number, bytes) { break }
            place = TaggedPlace.next(place, places)
        }
        return place
    }

    /// Whether the token with this id has these bytes.
    func matches(_ id: Int32, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        withBytes(of: id) { own in own.equals(bytes) }
    }
}
