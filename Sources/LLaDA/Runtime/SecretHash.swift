/// A hash whose key nobody knows: no file can be written whose names all fall into one place of a table. What a table
/// answers does not depend on the key.
///
/// The bytes are the coefficients of a polynomial over the prime 2^61 - 1, and the hash is its value at a secret point
/// (Carter, Wegman, Universal classes of hash functions, 1979): two texts of n bytes have the same value at n / 7 + 1
/// points at most. A secret factor then spreads the value over 64 bits.
package struct SecretHash: Sendable {
    private let point: UInt64
    private let factor: UInt64

    private static let prime: UInt64 = 1 << 61 - 1

    /// Draws a key. It comes of the secret that the Swift runtime has drawn for its own tables.
    package init() { self.init(point: Self.secret(0), factor: Self.secret(1)) }

    /// Takes a given key, for tests.
    package init(point: UInt64, factor: UInt64) {
        self.point = point % (Self.prime - 2) + 2
        self.factor = factor | 1
    }

    private static func secret(_ number: Int) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(number)
        return UInt64(truncatingIfNeeded: hasher.finalize())
    }

    /// Returns the hash of some bytes.
    @inline(__always)
    package func callAsFunction(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
        let raw = UnsafeRawBufferPointer(bytes)
        var value = UInt64(truncatingIfNeeded: raw.count)
        var position = 0
        while position + 8 <= raw.count {  // 7 of 8 bytes, as a coefficient is below the prime
            let word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            value = step(value, word & 0xFF_FFFF_FFFF_FFFF)
            position += 7
        }
        var rest: UInt64 = 0
        while position < raw.count {
            rest = rest << 8 | UInt64(raw[position])
            position += 1
        }
        return spread(step(value, rest))
    }

    /// Returns the hash of two numbers below 2^24. The lower half of it is the upper half of their product with a
    /// secret odd number, which no two pairs share but by chance (Dietzfelbinger et al., A reliable randomized
    /// algorithm for the closest-pair problem, 1997).
    @inline(__always)
    package func callAsFunction(pair left: Int32, _ right: Int32) -> UInt64 {
        let product = (UInt64(UInt32(bitPattern: left)) << 24 | UInt64(UInt32(bitPattern: right))) &* factor
        return product << 32 | product >> 32
    }

    /// Returns value * point + next, modulo the prime.
    @inline(__always)
    private func step(_ value: UInt64, _ next: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: point)
        // 2^61 is 1 modulo the prime.
        let folded = (product.low & Self.prime) &+ (product.high << 3 | product.low >> 61) &+ next
        let once = (folded & Self.prime) &+ folded >> 61
        return once >= Self.prime ? once &- Self.prime : once
    }

    @inline(__always)
    private func spread(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: factor)
        return product.high ^ product.low
    }
}
