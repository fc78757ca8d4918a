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
        for metadata in ["{\"total_size\":24}", "{}", "{\"total_size\":24.0}", "{\"total_size\":\"24\"}", "7"] {
            let checkpoint = try Self.open(Self.index(Self.good, metadata: metadata))
            #expect(checkpoint.unusedTensors == ["a", "b", "c"] && checkpoint.notes == [])
            #expect(try checkpoint.tensor("c", shape: [2]).places[0].file.path.hasSuffix("/2.safetensors"))
            // Each shard is opened once.
            let (a, b) = (try checkpoint.tensor("a", shape: [2]), try checkpoint.tensor("b", shape: [2]))
            #expect(a.places[0].file === b.places[0].file)
        }
        #expect(try Self.open("{\"weight_map\":{\(Self.good)}}").has("c"))
        let wrong = try Self.open(Self.index(Self.good, metadata: "{\"total_size\":25}"))
        #expect(wrong.has("c") && wrong.notes.count == 1 && wrong.notes[0].contains("total_size is 25"))
    }

    /// The index decides, whatever else is in the folder.
    @Test func theIndexGoesFirst() throws {
        let folder = try CheckpointTests.folder(single: [("x", "F32")])
        try folder.write("1.safetensors", Self.one)
        try folder.write("2.safetensors", Self.two)
        try folder.write("model.safetensors.index.json", Self.index(Self.good))
        let checkpoint = try Checkpoint.open(folder.path)
        #expect(checkpoint.unusedTensors == ["a", "b", "c"])
        #expect(checkpoint.notes == ["left out model.safetensors: model.safetensors.index.json names other files"])
        // It is the one file of its own index.
        try folder.write("model.safetensors.index.json", Self.index("\"x\":\"model.safetensors\"", metadata: "{}"))
        #expect(try Checkpoint.open(folder.path).notes == [])
        // An index that was left behind when its files were joined.
        try folder.write("model.safetensors.index.json", Self.index("\"a\":\"9.safetensors\""))
        let single = try Checkpoint.open(folder.path)
        #expect(single.unusedTensors == ["x"] && single.notes.count == 1)
    }

    @Test func whatTheIndexAndTheFilesDisagreeOn() throws {
        // A tensor that no file has, and a file that is missing: only if they are needed.
        let more = try Self.open(
            Self.index(Self.good + ",\"mtp.fc.weight\":\"2.safetensors\",\"mtp.norm.weight\":\"3.safetensors\""))
        #expect(more.unusedTensors == ["a", "b", "c"])
        #expect(
            more.notes.contains { $0.contains("mtp.fc.weight") } && more.notes.contains { $0.contains("3.safetens") })
        expectRefusal(.shardIndex, ["\"mtp.fc.weight\" is listed for 2.safetensors", "does not have it"]) {
            _ = try more.tensor("mtp.fc.weight", shape: [2])
        }
        // A tensor that the index does not list is not part of the checkpoint.
        let less = try Self.open(Self.index("\"a\":\"1.safetensors\",\"c\":\"2.safetensors\""))
        #expect(less.unusedTensors == ["a", "c"] && !less.has("b"))
        #expect(less.notes.contains { $0.contains("b") })
        expectRefusal(.shardIndex, ["\"b\" of 1.safetensors is not listed"]) { _ = try less.tensor("b", shape: [2]) }
        // One that is in another file, and there alone, is found.
        let moved = try Self.open(Self.index(Self.good.replacingOccurrences(of: "\"b\":\"1", with: "\"b\":\"2")))
        #expect(try moved.tensor("b", shape: [2]).places[0].file.path.hasSuffix("/1.safetensors"))
        #expect(moved.notes.count == 1)
        // One that is in two files is taken from the one that the index names.
        let folder = try CheckpointTests.folder()
        try folder.write("1.safetensors", Self.one)
        try folder.write("2.safetensors", CheckpointTests.file([("c", "F32"), ("a", "F32")]))
        try folder.write("model.safetensors.index.json", Self.index(Self.good))
        let twice = try Checkpoint.open(folder.path)
        #expect(try twice.tensor("a", shape: [2]).places[0].file.path.hasSuffix("/1.safetensors"))
        #expect(twice.notes.count == 1)
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
        ]
        for (index, parts) in refusals {
            expectRefusal(.shardIndex, parts, index) { _ = try Self.open(index) }
        }
        expectRefusal(.io, ["\"3.safetensors\"", "missing", "lm_head.weight"]) {
            _ = try Self.open(Self.index(Self.good + ",\"lm_head.weight\":\"3.safetensors\""))
        }
        expectRefusal(.json, ["model.safetensors.index.json: line 1, column 1"]) { _ = try Self.open("") }
    }

    @Test func survivesMutations() throws {
        var generator = SeededGenerator(state: 4)
        let valid = Array(Self.index(Self.good).utf8)
        let shards: [(name: JSONString, tensors: Safetensors)] = [
            ("1.safetensors", try readSafetensors(Self.one)), ("2.safetensors", try readSafetensors(Self.two)),
        ]
        for _ in 0..<10_000 {
            do throws(LLaDAError) {
                let index = try ShardIndex(try JSON.parse(mutated(valid, using: &generator), file: "i"))
                for shard in index.shards { #expect(!shard.bytes.contains(0x2F) && !shard.bytes.isEmpty) }
                let tensors = try IndexedTensors(index, shards)
                let count = tensors.present.count
                #expect(count <= 3)
            } catch {
                #expect(error.status == .json || error.status == .shardIndex)
            }
        }
    }
}
