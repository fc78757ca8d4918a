import LLaDA
import Testing

@Suite struct SecretHashTests {
    /// A table as the library's are: open addressing, two thirds full. Returns the places that were looked at to add
    /// all keys.
    static func probes(_ hashes: [UInt64]) -> Int {
        var taken = [Bool](repeating: false, count: hashes.count + hashes.count / 2 + 2)
        var probes = 0
        for hash in hashes {
            var place = Int(((hash & 0xFFFF_FFFF) * UInt64(taken.count)) >> 32)
            while taken[place] {
                place = place + 1 == taken.count ? 0 : place + 1
                probes += 1
            }
            taken[place] = true
            probes += 1
        }
        return probes
    }

    static func hashes(_ hash: SecretHash, _ texts: [[UInt8]]) -> [UInt64] {
        texts.map { text in text.withUnsafeBufferPointer { hash($0) } }
    }

    static let count = 20_000

    /// Texts that have one hash by a key that somebody has found out: the polynomials have one value at its point.
    static func colliding(at point: Int) -> [[UInt8]] {
        (0..<count).map { number in
            let words = [number, 1 << 50 - point * number]
            return words.flatMap { word in (0..<7).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } } + [0]
        }
    }

    @Test func whoKnowsTheKeyCanMakeCollisionsAndNobodyElse() {
        let known = SecretHash(point: 1000 - 2, factor: 12_345)
        let texts = Self.colliding(at: 1000)
        #expect(Set(texts).count == Self.count && Set(Self.hashes(known, texts)).count == 1)
        // A factor of 1 leaves the upper bits of small pairs in one place.
        let pairs = (0..<Self.count).map { (Int32($0 % 200), Int32($0 / 200)) }
        let weak = SecretHash(point: 2, factor: 1)
        #expect(Set(pairs.map { weak(pair: $0.0, $0.1) & 0xFFFF_FFFF }).count == 1)

        for round in 0..<20 {
            // Keys as they are drawn, but the same in every run of the test.
            var state = UInt64(round)
            func drawn() -> UInt64 {
                state &+= 0x9E37_79B9_7F4A_7C15
                let mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
                return mixed ^ mixed >> 27
            }
            let hash = SecretHash(point: drawn(), factor: drawn())
            #expect(Set(Self.hashes(hash, texts)).count == Self.count)
            #expect(Self.probes(Self.hashes(hash, texts)) < 4 * Self.count)
            // Pairs in rows make longer runs than chance does; collisions would make ten thousand times as many.
            #expect(Self.probes(pairs.map { hash(pair: $0.0, $0.1) }) < 16 * Self.count)
        }
    }

    @Test func keysOfAProcessDiffer() {
        let texts = Self.colliding(at: 1000)
        #expect(Self.probes(Self.hashes(SecretHash(), texts)) < 4 * Self.count)
    }

    /// Lengths and places of zeros count.
    @Test func similarTextsDiffer() {
        let hash = SecretHash()
        let texts =
            (0..<40).map { [UInt8](repeating: 0, count: $0) }
            + (0..<40).map { place in
                (0..<40).map { $0 == place ? 1 : 0 }
            }
        #expect(Set(Self.hashes(hash, texts)).count == texts.count)
    }
}
