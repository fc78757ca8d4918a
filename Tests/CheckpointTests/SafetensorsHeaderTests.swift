import LLaDA
import TestSupport
import Testing

@Suite struct SafetensorsHeaderTests {
    /// What is written can be read, and begins where it should.
    @Test func headersAreReadAsTheyWereMeant() throws {
        for count in 0..<40 {
            let entries = (0..<count).map {
                SafetensorsHeader.Entry(
                    name: "t\($0)", type: $0 % 2 == 0 ? .u8 : .f32, shape: [2, 32], byteCount: $0 % 2 == 0 ? 64 : 256)
            }
            let header = SafetensorsHeader(entries, metadata: [("format", "x"), ("version", "1")])
            #expect(header.bytes.count % SafetensorsHeader.alignment == 0)
            let total = entries.reduce(0) { $0 + $1.byteCount }
            let file = try readSafetensors(header.bytes + [UInt8](repeating: 7, count: total))
            #expect(file.entries.map(\.name.string) == entries.map(\.name))
            #expect(file.entries.map(\.type) == entries.map(\.type))
            #expect(file.entries.map(\.shape) == entries.map(\.shape))
            #expect(file.entries.map(\.bytes.count) == entries.map(\.byteCount))
            #expect(file.entries.allSatisfy { $0.bytes.lowerBound % SafetensorsHeader.alignment == 0 })
            #expect(file.metadata.map(\.key.string) == ["format", "version"])
            #expect(file.metadata.map(\.value.string) == ["x", "1"])
        }
    }
}
