import Foundation
import LLaDA
import TestSupport
import Testing

/// The structure of GGUF files. What their numbers and texts mean is compared with the package `gguf` in
/// Tests/python/test_gguf.py.
@Suite struct GGUFTests {
    private static let number = GGUFBytes.number(UInt32(7))

    @Test func readsEveryTypeOfValue() throws {
        var file = GGUFBytes()
        let values: [(UInt32, [UInt8])] = [
            (0, [200]), (1, [0xFF]), (2, [0, 2]), (3, [0xFE, 0xFF]), (4, GGUFBytes.number(UInt32.max)),
            (5, GGUFBytes.number(Int32(-5))), (6, GGUFBytes.number(Float(1.5).bitPattern)), (7, [1]),
            (8, GGUFBytes.string("text")), (9, GGUFBytes.number(UInt32(1)) + GGUFBytes.number(UInt64(2)) + [1, 2]),
            (10, GGUFBytes.number(UInt64.max)), (11, GGUFBytes.number(Int64.min)),
            (12, GGUFBytes.number(Double(0.1).bitPattern)),
        ]
        for (type, value) in values { file.add("key \(type)", type: type, value) }
        let read = try readGGUF(file.bytes)
        let summaries = (0...12).map { type in read["key \(type)"].map { read.summary($0) } }
        #expect(
            summaries == [
                "200", "-1", "512", "-2", "4294967295", "-5", "1.5", "true", "\"text\"", "an array of 2 int8",
                "18446744073709551615", "-9223372036854775808", "0.1",
            ])
        #expect(read["key 13"] == nil && read.entries.isEmpty)
    }

    @Test func readsTensors() throws {
        var file = GGUFBytes()
        file.add(tensor: "a", [3, 2], bytes: [UInt8](repeating: 1, count: 24))
        file.add(tensor: "b", [64, 1, 2], type: 8, bytes: [UInt8](repeating: 2, count: 136))
        for version in [UInt32(2), 3] {
            file.version = version
            let read = try readGGUF(file.bytes)
            #expect(read.entries.map(\.name.string) == ["a", "b"])
            #expect(read.entries.map(\.shape) == [[2, 3], [2, 1, 64]])
            #expect(read.entries.map(\.bytes.count) == [24, 136])
            #expect(read.entries.map(\.type.name) == ["F32", "Q8_0"])
            for entry in read.entries {
                #expect(Set(read.bytes(entry.bytes)) == [entry.name == "a" ? 1 : 2])
            }
        }
    }

    /// Arrays of arrays, as deep as they may be and deeper.
    @Test func nestedArrays() throws {
        func nested(_ depth: Int) -> [UInt8] {
            var file = GGUFBytes()
            var value = GGUFBytes.number(UInt32(0)) + GGUFBytes.number(UInt64(1)) + [9]
            for _ in 1..<depth { value = GGUFBytes.number(UInt32(9)) + GGUFBytes.number(UInt64(1)) + value }
            file.add("deep", type: 9, value)
            return file.bytes
        }
        for depth in 1...8 { _ = try readGGUF(nested(depth)) }
        for depth in [9, 100, 10_000] {
            expectRefusal(.gguf, ["m.gguf", "\"deep\"", "nested deeper than 8"]) { _ = try readGGUF(nested(depth)) }
        }
    }

    @Test func refuses() {
        typealias Case = (status: Status, parts: [String], change: (inout GGUFBytes) -> Void)
        let huge = UInt64(1) << 60
        let data = [UInt8](repeating: 0, count: 64)
        let cases: [Case] = [
            (.unsupported, ["version", "is 1;", "2 or 3"], { $0.version = 1 }),
            (.unsupported, ["version", "is 4;"], { $0.version = 4 }),
            (.unsupported, ["big-endian"], { $0.version = UInt32(3).byteSwapped }),
            (.gguf, ["number of tensors is \(huge)"], { $0.tensorCount = huge }),
            (.gguf, ["number of metadata pairs is \(huge)"], { $0.pairCount = huge }),
            (.gguf, ["number of metadata pairs is \(UInt64.max)"], { $0.pairCount = .max }),
            (.gguf, ["metadata \"k\" is there twice"], { for _ in 0..<2 { $0.add("k", 1) } }),
            (.gguf, ["type of metadata \"k\" is 13"], { $0.add("k", type: 13, Self.number) }),
            (.gguf, ["metadata \"k\" is 2; expected 0 or 1"], { $0.add("k", type: 7, [2]) }),
            (
                .gguf, ["the length of metadata \"k\" is \(huge)"],
                { $0.add("k", type: 8, GGUFBytes.string("abc", length: huge)) }
            ),
            (
                .gguf, ["number of elements of metadata \"k\" is \(huge)"],
                { $0.add("k", elements: 4, count: huge, Self.number) }
            ),
            (
                .gguf, ["number of elements of metadata \"k\" is \(UInt64.max)"],
                { $0.add("k", elements: 8, count: .max, GGUFBytes.string("abc")) }
            ),
            (.gguf, ["general.alignment is 0"], { $0.add("general.alignment", 0) }),
            (.gguf, ["general.alignment is 24"], { $0.add("general.alignment", 24) }),
            (
                .gguf, ["general.alignment is an array of 1 uint8"],
                { $0.add("general.alignment", elements: 0, count: 1, [8]) }
            ),
            (
                .gguf, ["place", "expected a place within"],
                {
                    $0.add("general.alignment", 1 << 30)
                    $0.add(tensor: "t", [1], bytes: data)
                }
            ),
            (.gguf, ["tensor \"t\" is there twice"], { for _ in 0..<2 { $0.add(tensor: "t", [1], bytes: data) } }),
            (.gguf, ["number of dimensions is 0"], { $0.add(tensor: "t", [], bytes: data) }),
            (.gguf, ["number of dimensions is 5"], { $0.add(tensor: "t", [1, 1, 1, 1, 1], bytes: data) }),
            (.gguf, ["dimension is 0"], { $0.add(tensor: "t", [4, 0], bytes: data) }),
            (.gguf, ["dimension is \(UInt64.max)"], { $0.add(tensor: "t", [.max], bytes: data) }),
            (.gguf, ["shape", "a size that fits 64 bits"], { $0.add(tensor: "t", [1 << 40, 1 << 40], bytes: data) }),
            (.gguf, ["shape", "64 bits"], { $0.add(tensor: "t", [1 << 31, 1 << 31, 1 << 31, 2], bytes: data) }),
            (
                .gguf, ["shape is [2, 31] of Q8_0", "multiple of 32"],
                { $0.add(tensor: "t", [31, 2], type: 8, bytes: data) }
            ),
            (.unsupported, ["type is 99"], { $0.add(tensor: "t", [4], type: 99, bytes: data) }),
            (.unsupported, ["type is 4;"], { $0.add(tensor: "t", [4], type: 4, bytes: data) }),
            (
                .gguf, ["offset is 8", "multiple of the alignment, 32"],
                { $0.add(tensor: "t", [4], offset: 8, bytes: data) }
            ),
            (.gguf, ["place is 16 bytes from 64 on"], { $0.add(tensor: "t", [4], offset: 64, bytes: data) }),
            (
                .gguf, ["place is 16 bytes from \(UInt64.max - 31) on"],
                { $0.add(tensor: "t", [4], offset: .max - 31, bytes: data) }
            ),
            (.gguf, ["place is \(1 << 62) bytes"], { $0.add(tensor: "t", [1 << 60], bytes: data) }),
            (
                .gguf, ["tensor \"u\": place is inside that of tensor \"t\""],
                {
                    $0.add(tensor: "t", [16], bytes: data)
                    $0.add(tensor: "u", [4], offset: 32, bytes: data)
                }
            ),
        ]
        for (index, one) in cases.enumerated() {
            var file = GGUFBytes()
            one.change(&file)
            expectRefusal(one.status, ["m.gguf"] + one.parts, "case \(index)") { _ = try readGGUF(file.bytes) }
        }
        expectRefusal(.gguf, ["m.gguf: does not begin with GGUF"]) { _ = try readGGUF(Array("GGML....".utf8)) }
    }

    /// A file that is cut anywhere within its header is refused.
    @Test func cutAnywhere() {
        let file = GGUFBytes.model()
        let whole = file.bytes
        for length in stride(from: 0, to: file.header.count, by: 31) {
            expectRefusal(.gguf, ["m.gguf"], "cut at \(length)") { _ = try readGGUF(Array(whole[..<length])) }
        }
    }

    /// Random damage is a result or an error with words, wherever in the header it is.
    @Test func randomDamage() throws {
        let file = GGUFBytes.model()
        let whole = file.bytes
        let folder = try TemporaryFolder()
        let path = folder.path + "/m.gguf"
        func open(_ bytes: [UInt8]) throws -> Model {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            var options = Model.Options()
            options.threads = 1
            return try Model(path: path, options: options)
        }
        let model = try open(whole)
        #expect(model.tokenizer?.vocabularySize == 259 && model.maskTokenID == 258 && model.eosTokenIDs == [257])
        var generator = SeededGenerator(state: 14)
        var opened = 0
        for _ in 0..<1500 {
            do {
                _ = try open(mutated(whole, span: file.header.count, using: &generator))
                opened += 1
            } catch let error as LLaDAError {
                #expect(!error.message.isEmpty)
            }
        }
        #expect(opened < 1500)
    }
}
