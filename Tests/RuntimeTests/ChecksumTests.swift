import LLaDA
import TestSupport
import Testing

@Suite struct ChecksumTests {
    private func sum(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { Checksum.of($0) } }

    /// However the stream is cut.
    @Test func cutsDoNotShow() {
        var generator = SeededGenerator(state: 3)
        for length in [0, 1, 31, 32, 33, 64, 200, 1000] {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
            for _ in 0..<20 {
                var checksum = Checksum()
                var start = 0
                while start < length {
                    let end = min(length, start + Int.random(in: 0...70, using: &generator))
                    bytes[start..<end].withUnsafeBytes { checksum.update($0) }
                    start = end
                }
                #expect(checksum.value == sum(bytes), "\(length)")
            }
        }
    }

    @Test func everyChangedByteAndEveryLengthShows() {
        let bytes = (0..<150).map { UInt8($0) }
        var seen: Set<UInt64> = [sum(bytes)]
        for index in bytes.indices {
            for change in [1, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[index] ^= change
                #expect(seen.insert(sum(damaged)).inserted, "byte \(index)")
            }
        }
        // Zeros at the end as well.
        for count in 0..<100 { #expect(seen.insert(sum([UInt8](repeating: 0, count: count))).inserted, "\(count)") }
    }
}
