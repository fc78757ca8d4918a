import LLaDA
import Testing

@Suite struct ArenaTests {
    /// Pieces begin at lines of the cache, do not meet, and live as long as their owners.
    @Test func piecesDoNotMeet() throws {
        var held: [(base: UnsafeMutableRawPointer, owner: AnyObject, count: Int)] = []
        do {
            let arena = Arena(team: ThreadTeam(threads: 2))
            for count in [1, 63, 64, 65, 1 << 20, 70 << 20, 5, 40 << 20, 40 << 20] {
                let (base, owner) = try arena.take(count)
                #expect(Int(bitPattern: base) % 64 == 0)
                held.append((base, owner, count))
            }
        }
        for (index, one) in held.enumerated() {
            one.base.initializeMemory(as: UInt8.self, repeating: UInt8(index + 1), count: one.count)
        }
        for (index, one) in held.enumerated() {
            let bytes = UnsafeRawBufferPointer(start: one.base, count: one.count)
            #expect(bytes.first == UInt8(index + 1) && bytes.last == UInt8(index + 1))
        }
    }
}
