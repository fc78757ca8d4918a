import LLaDA
import TestSupport
import Testing

@Suite struct SafetensorsTests {
    static func tensor(_ dtype: String, _ shape: String, _ offsets: String) -> String {
        "{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }

    static let valid = safetensors(
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":\(tensor("F32", "[2,3]", "[8,32]"))"
            + ",\"a\":\(tensor("BF16", "[4]", "[0,8]")),\"empty\":\(tensor("F32", "[0,7]", "[8,8]"))"
            + ",\"scalar\":\(tensor("U8", "[]", "[32,33]"))}   ", dataCount: 33)

    @Test func readsAWholeFile() throws {
        let file = try readSafetensors(Self.valid)
        #expect(file.entries.map(\.name.string) == ["a", "empty", "b", "scalar"])
        #expect(file.entries.map(\.shape) == [[4], [0, 7], [2, 3], []])
        #expect(file.entries.map(\.bytes.count) == [8, 0, 24, 1])
        #expect(file.entries.last?.bytes.upperBound == Self.valid.count)
        #expect(try readSafetensors(safetensors("{}")).entries.isEmpty)
    }

    @Test func knowsTheSizeOfEveryType() throws {
        let sizes = [
            "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
            "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64,
            "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
        ]
        #expect(sizes.count == SafetensorsType.allCases.count)
        for (name, bits) in sizes {
            let header = "{\"t\":\(Self.tensor(name, "[4]", "[0,\(bits / 2)]"))}"
            #expect(
                try readSafetensors(safetensors(header, dataCount: bits / 2)).entries.first?.bytes.count == bits / 2)
        }
    }

    @Test func refuses() {
        let t = Self.tensor
        let refusals: [(header: String, data: Int, parts: [String])] = [
            ("", 0, ["does not begin with '{'"]),
            (" {}", 0, ["does not begin with '{'"]),
            ("[]", 0, ["does not begin with '{'"]),
            ("{\"a\":", 0, ["header: line 1, column 6", "the end of the file"]),
            ("{}x", 0, ["header: line 1, column 3", "after the end"]),
            ("{\"a\":\(t("U8", "[1]", "[0,1]")),\"a\":\(t("U8", "[1]", "[1,2]"))}", 2, ["duplicate key \"a\""]),
            ("{\"__metadata__\":1}", 0, ["__metadata__ is 1", "expected an object of strings"]),
            ("{\"__metadata__\":{\"k\":1}}", 0, ["__metadata__: \"k\" is 1", "expected a string"]),
            ("{\"a\":[]}", 0, ["tensor \"a\" is an array of 0", "expected an object"]),
            ("{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, ["tensor \"a\" has no dtype"]),
            ("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, ["tensor \"a\" has no shape"]),
            ("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, ["tensor \"a\" has no data_offsets"]),
            ("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":0}}", 1, ["unknown field \"x\""]),
            ("{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,1]}}", 1, ["dtype is 7", "expected a string"]),
            ("{\"a\":\(t("U8", "3", "[0,1]"))}", 1, ["shape is 3", "expected an array of whole numbers"]),
            ("{\"a\":\(t("U8", "[1.0]", "[0,1]"))}", 1, ["shape is an array with 1.0", "whole numbers"]),
            ("{\"a\":\(t("U8", "[-1]", "[0,1]"))}", 1, ["shape is an array with -1", "at least 0"]),
            ("{\"a\":\(t("U8", "[\"1\"]", "[0,1]"))}", 1, ["shape is an array with \"1\""]),
            (
                "{\"a\":\(t("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"))}", 1,
                ["an array of 17", "at most 16"]
            ),
            ("{\"a\":\(t("F32", "[4611686018427387904,4]", "[0,1]"))}", 1, ["tensor \"a\": shape", "fits 64 bits"]),
            ("{\"a\":\(t("F32", "[9223372036854775807]", "[0,1]"))}", 1, ["fits 64 bits"]),
            ("{\"a\":\(t("F32", "[9223372036854775808]", "[0,1]"))}", 1, ["whole numbers"]),
            ("{\"a\":\(t("F4", "[3]", "[0,2]"))}", 2, ["[3] of F4", "whole bytes"]),
            ("{\"a\":\(t("U8", "[1]", "[0]"))}", 1, ["data_offsets is an array of 1", "begin and end"]),
            ("{\"a\":\(t("U8", "[1]", "[0,1,2]"))}", 1, ["data_offsets is an array of 3"]),
            ("{\"a\":\(t("U8", "[1]", "[1,0]"))}", 1, ["data_offsets is [1, 0]", "not behind the end"]),
            ("{\"a\":\(t("U8", "[1]", "[-1,0]"))}", 1, ["data_offsets is an array with -1"]),
            (
                "{\"a\":\(t("F32", "[2,2]", "[0,15]"))}", 15,
                ["[0, 15], 15 bytes", "the 16 bytes of its shape and dtype"]
            ),
            ("{\"a\":\(t("F32", "[2,2]", "[0,16]"))}", 15, ["ends at byte 16", "only 15", "cut short"]),
            ("{\"a\":\(t("U8", "[1]", "[9223372036854775806,9223372036854775807]"))}", 1, ["cut short"]),
            ("{\"a\":\(t("U8", "[2]", "[0,2]"))}", 3, ["1 bytes follow the last tensor"]),
            ("{}", 3, ["3 bytes follow the last tensor"]),
            ("{\"a\":\(t("U8", "[2]", "[1,3]"))}", 3, ["a hole of 1 bytes before tensor \"a\"", "begins at 1"]),
            (
                "{\"a\":\(t("U8", "[2]", "[0,2]")),\"b\":\(t("U8", "[2]", "[3,5]"))}", 5,
                ["a hole of 1 bytes before tensor \"b\""]
            ),
            (
                "{\"a\":\(t("U8", "[2]", "[0,2]")),\"b\":\(t("U8", "[2]", "[1,3]"))}", 3,
                ["tensor \"b\" begins at 1", "ends at 2"]
            ),
            (
                "{\"a\":\(t("U8", "[4]", "[0,4]")),\"b\":\(t("U8", "[0]", "[2,2]"))}", 4,
                ["tensor \"b\" begins at 2", "ends at 4"]
            ),
        ]
        for (header, data, parts) in refusals {
            expectRefusal(.safetensors, ["m.safetensors"] + parts, header) {
                _ = try readSafetensors(safetensors(header, dataCount: data))
            }
        }
        expectRefusal(.unsupported, ["tensor \"a\": dtype", "\"F128\""]) {
            _ = try readSafetensors(safetensors("{\"a\":\(t("F128", "[1]", "[0,16]"))}", dataCount: 16))
        }
    }

    @Test func refusesABadLength() {
        func file(_ length: UInt64, _ rest: Int) -> [UInt8] {
            withUnsafeBytes(of: length.littleEndian) { Array($0) } + [UInt8](repeating: 0x7B, count: rest)
        }
        let refusals: [(bytes: [UInt8], parts: [String])] = [
            ([], ["has 0 bytes", "at least the 8"]),
            ([1, 2, 3, 4, 5, 6, 7], ["has 7 bytes"]),
            (file(3, 2), ["length is 3", "only 2 bytes after it"]),
            (file(100_000_001, 2), ["length is 100000001", "at most 100000000"]),
            (file(.max, 2), ["length is 18446744073709551615"]),
            (file(1 << 63, 2), ["length is 9223372036854775808"]),
            (file(0, 0), ["does not begin with '{'"]),
        ]
        for (bytes, parts) in refusals {
            expectRefusal(.safetensors, parts) { _ = try readSafetensors(bytes) }
        }
    }

    @Test func survivesMutations() throws {
        var generator = SeededGenerator(state: 2)
        var accepted = 0
        let structure = Self.valid.count - 33
        for _ in 0..<20_000 {
            let bytes = mutated(Self.valid, span: structure, using: &generator)
            do {
                let file = try readSafetensors(bytes)
                accepted += 1
                // Whatever was accepted covers the file's data exactly once.
                var end = file.entries.first?.bytes.lowerBound ?? bytes.count
                for entry in file.entries {
                    #expect(entry.bytes.lowerBound == end)
                    end = entry.bytes.upperBound
                }
                #expect(end == bytes.count)
            } catch let error as LLaDAError {
                #expect(error.status == .safetensors || error.status == .unsupported)
            }
        }
        #expect(accepted > 50 && accepted < 10_000, "\(accepted)")
    }
}
