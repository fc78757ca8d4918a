/// A checksum of 64 bits over a stream of bytes. The value does not depend on how the stream is cut. It finds damage,
/// but it is no defence against an attacker. Four lanes take words of 8 bytes in turn, and each step is one-to-one in
/// the word and in the lane: a change within one word always shows, and any other change goes unseen once in 2^64.
package struct Checksum {
    // An odd number without a pattern: digits of pi.
    private static let factor: UInt64 = 0x243F_6A88_85A3_08D3
    private static let start: SIMD4<UInt64> = [
        0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89, 0x4528_21E6_38D0_1377,
    ]
    private static let width = 32

    private var lanes = Self.start
    /// The bytes that do not yet fill one word of each lane.
    private var waiting: [UInt8] = []
    private var count: UInt64 = 0

    package init() {}

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        count &+= UInt64(bytes.count)
        var rest = bytes[...]
        if !waiting.isEmpty {
            let missing = min(Self.width - waiting.count, rest.count)
            waiting += rest.prefix(missing)
            rest = rest.dropFirst(missing)
            if waiting.count < Self.width { return }
            waiting.withUnsafeBytes { mix($0) }
            waiting = []
        }
        let whole = rest.count / Self.width * Self.width
        mix(UnsafeRawBufferPointer(rebasing: rest.prefix(whole)))
        waiting += rest.dropFirst(whole)
    }

    /// Mixes whole groups of words into the lanes.  bytes.count: a multiple of `width`
    private mutating func mix(_ bytes: UnsafeRawBufferPointer) {
        var lanes = lanes
        for offset in stride(from: 0, to: bytes.count, by: Self.width) {
            for lane in 0..<4 {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + lane * 8, as: UInt64.self))
                lanes[lane] = Self.step(lanes[lane], word)
            }
        }
        self.lanes = lanes
    }

    private static func step(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        let product = (lane ^ word) &* factor
        return product << 29 | product >> 35
    }

    /// The checksum of all bytes so far.
    package var value: UInt64 {
        var last = self
        last.waiting += [UInt8](repeating: 0, count: Self.width - waiting.count)
        last.waiting.withUnsafeBytes { last.mix($0) }
        var result = count
        for lane in 0..<4 { result = Self.finished(result ^ last.lanes[lane]) }
        return result
    }

    /// Returns the value with its bits mixed: one-to-one, and every bit of the result depends on every bit of `value`.
    private static func finished(_ value: UInt64) -> UInt64 {
        var value = value
        for _ in 0..<2 { value = (value ^ value >> 32) &* factor }
        return value ^ value >> 29
    }

    /// Returns the checksum of `bytes` alone.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var checksum = Checksum()
        checksum.update(bytes)
        return checksum.value
    }
}
