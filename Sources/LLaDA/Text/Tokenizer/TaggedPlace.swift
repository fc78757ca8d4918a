/// A place of a hash table: a number below 2^24, and some bits of the hash, which tell most keys apart without a look
/// at them. Memory of zeros is a table of empty places.
struct TaggedPlace: BitwiseCopyable {
    private var word: UInt32 = 0  // 1, 7 bits of the hash, 24 of the number; 0: empty

    init() {}
    init(_ number: Int32, _ hash: UInt64) { word = Self.tag(hash) | UInt32(truncatingIfNeeded: number) & 0xFF_FFFF }

    var isEmpty: Bool { word == 0 }
    var number: Int32 { Int32(word & 0xFF_FFFF) }
    func mayHave(_ hash: UInt64) -> Bool { word & 0xFF00_0000 == Self.tag(hash) }

    private static func tag(_ hash: UInt64) -> UInt32 {
        0x8000_0000 | UInt32(truncatingIfNeeded: hash >> 33) & 0x7F00_0000
    }

    /// The places of a table for `count` keys: at most two thirds are taken.
    static func places(for count: Int) throws(LLaDAError) -> Buffer<TaggedPlace> {
        try Buffer(count: count + count / 2 + 2, repeating: TaggedPlace())
    }

    /// Where a search begins.
    @inline(__always)
    static func first(_ hash: UInt64, _ places: UnsafeMutableBufferPointer<TaggedPlace>) -> Int {
        Int(((hash & 0xFFFF_FFFF) &* UInt64(places.count)) >> 32)
    }

    /// Where it goes on.
    @inline(__always)
    static func next(_ place: Int, _ places: UnsafeMutableBufferPointer<TaggedPlace>) -> Int {
        place + 1 == places.count ? 0 : place + 1
    }
}
