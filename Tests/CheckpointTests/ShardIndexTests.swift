import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct ShardIndexTests {
    static let one = CheckpointTests.file([("a", "F32"), ("b", "F32")])
    static let two = CheckpointTests.file([("c", "F32")])
    static let good = "\"a\":\"1.safetensors\",\"b\":\"1.safetensors\",\"c\":\"2.safetensors\""

    static func index(_ map: String, metadata: String = "{\"total_size\":24}") -> String {
        "{\"metadata\":\(metadata),\"weight_map\":{\(map)}}"
    }

    /// Opens a folder of two shards with this index.
    static func open(_ index: String) throws -> Checkpoint {
        let folder = try CheckpointTests.folder()
        try folder.write("1.safetensors", one)
        try folder.write("2.safetensors", two)
        try folder.write("model.safetensors.index.json", index)
        return try Checkpoint.open(folder.path)
    }

    @Test func opensShards() throws {
        for metadata in ["{\"total_size\":24}", "{}", "{\"total_size\":24.0}", "{\"total_size\":\"24\"}"] {
            let checkpoint = try Self.open(Self.index(Self.good, metadata: metadata))
            #expect(checkpoint.unusedTensors == ["a", "b", "c"])
            #expect(try checkpoint.tensor("c", shape: [2]).owner.path.hasSuffix("/2.safetensors"))
            // Each shard is opened once.
            #expect(try checkpoint.tensor("a", shape: [2]).owner === checkpoint.tensor("b", shape: [2]).owner)
        }
        #expect(try Self.open("{\"weight_map\":{\(Self.good)}}").has("c"))
    }

    @Test func theSingleFileGoesFirst() throws {
        let folder = try CheckpointTests.folder(single: [("x", "F32")])
        try folder.write("model.safetensors.index.json", "not even JSON")
        #expect(try Checkpoint.open(folder.path).unusedTensors == ["x"])
    }

    @Test func refuses() {
        let refusals: [(index: String, parts: [String])] = [
            ("[]", ["is an array of 0", "expected an object"]),
            ("{}", ["weight_map is missing"]),
            ("{\"weight_map\":[]}", ["weight_map is an array of 0"]),
            ("{\"weight_map\":{}}", ["weight_map is empty"]),
            (Self.index("\"a\":1"), ["the file of tensor \"a\" is 1", "a string"]),
            (Self.index("\"a\":\"\""), ["tensor \"a\"", "an empty name"]),
            (Self.index("\"a\":\"../1.safetensors\""), ["\"../1.safetensors\"", "leaves the folder"]),
            (Self.index("\"a\":\"/1.safetensors\""), ["\"/1.safetensors\"", "leaves the folder"]),
            (Self.index("\"a\":\"sub/1.safetensors\""), ["leaves the folder"]),
            (Self.index("\"a\":\"..\""), ["leaves the folder"]),
            (Self.index("\"a\":\"1\\u0000.safetensors\""), ["NUL"]),
            (Self.index("\"a\":\"1.bin\""), ["\"1.bin\"", "no .safetensors file"]),
            (
                Self.index(Self.good + ",\"d\":\"2.safetensors\""),
                ["\"d\" is listed for 2.safetensors", "does not have it"]
            ),
            (
                Self.index("\"a\":\"1.safetensors\",\"c\":\"2.safetensors\""),
                ["1.safetensors: tensor \"b\" is not listed"]
            ),
            (
                Self.index(Self.good.replacingOccurrences(of: "\"b\":\"1", with: "\"b\":\"2")),
                ["1.safetensors: tensor \"b\" is listed", "for 2.safetensors"]
            ),
            (Self.index(Self.good, metadata: "{\"total_size\":25}"), ["metadata.total_size is 25", "24"]),
            (Self.index(Self.good, metadata: "7"), ["metadata is 7", "an object"]),
        ]
        for (index, parts) in refusals {
            expectRefusal(.shardIndex, parts, index) { _ = try Self.open(index) }
        }
        expectRefusal(.io, ["\"3.safetensors\"", "missing"]) {
            _ = try Self.open(Self.index(Self.good + ",\"d\":\"3.safetensors\""))
        }
        expectRefusal(.json, ["model.safetensors.index.json: line 1, column 1"]) { _ = try Self.open("") }
    }

    @Test func survivesMutations() throws {
        var generator = SeededGenerator(state: 4)
        let valid = Array(Self.index(Self.good).utf8)
        let shards: [(shard: JSONString, tensors: Safetensors)] = [
            ("1.safetensors", try readSafetensors(Self.one)), ("2.safetensors", try readSafetensors(Self.two)),
        ]
        for _ in 0..<10_000 {
            do throws(LLaDAError) {
                let index = try ShardIndex(try JSON.parse(mutated(valid, using: &generator), file: "i"))
                for shard in index.shards { #expect(!shard.bytes.contains(0x2F) && !shard.bytes.isEmpty) }
                try index.check(shards)
            } catch {
                #expect(error.status == .json || error.status == .shardIndex)
            }
        }
    }
}
