import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct CheckpointTests {
    // MARK: The conformance checkpoints

    @Test func opensTheConformanceCheckpoints() throws {
        for name in Fixture.names {
            let checkpoint = try Checkpoint.open("\(Fixture.conformance)/\(name)")
            let c = checkpoint.config
            #expect(checkpoint.directory.hasSuffix(name))
            #expect(c.rotaryDim == c.headDim / 2 && c.torchDtype == "float32")
            let all = checkpoint.unusedTensors
            let table = try checkpoint.tensor("model.word_embeddings.weight", shape: [c.vocabSize, c.hiddenSize])
            #expect(table.byteCount == c.vocabSize * c.hiddenSize * 4 && table.dtype == .f32)
            let rows = (c.numAttentionHeads + 2 * c.numKeyValueHeads) * c.headDim
            _ = try checkpoint.tensor(
                "model.layers.0.attention.query_key_value.weight", shape: [rows, c.hiddenSize])
            #expect(checkpoint.unusedTensors.count == all.count - 2)
            #expect(!checkpoint.unusedTensors.contains("model.word_embeddings.weight"))
            #expect(checkpoint.has("lm_head.weight") && !checkpoint.has("lm_head.bias"))
        }
        #expect(try Checkpoint.open("\(Fixture.conformance)/block_route").config.expertCapacity == 6)
    }

    @Test func mappedAndReadBytesAreEqual() throws {
        let checkpoint = try Checkpoint.open("\(Fixture.conformance)/gqa_group")
        let shape = [checkpoint.config.vocabSize, checkpoint.config.hiddenSize]
        let tensor = try checkpoint.tensor("lm_head.weight", shape: shape)
        let mapping = try tensor.places[0].file.map()
        let read = try bytes(of: tensor)
        withExtendedLifetime(mapping) { #expect(mapping.bytes[tensor.places[0].bytes].elementsEqual(read)) }
        // Rows, and a part of one.
        let row = read.count / shape[0]
        var part = [UInt8](repeating: 0, count: 2 * row)
        try part.withUnsafeMutableBytes { try tensor.read(3..<5, into: #require($0.baseAddress)) }
        #expect(part.elementsEqual(read[3 * row..<5 * row]))
    }

    private func bytes(of tensor: Tensor) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
        try bytes.withUnsafeMutableBytes { try tensor.read(0, into: $0) }
        return bytes
    }

    // MARK: A small checkpoint of our own

    /// A folder with a valid config and a file of one-byte-per-element tensors, or of F32 where the dtype says so.
    static func folder(single: [(String, String)]? = nil) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try folder.write("config.json", ModelConfigTests.text([:]))
        if let single { try folder.write("model.safetensors", file(single)) }
        return folder
    }

    /// One tensor of shape [2] for each name and dtype.
    static func file(_ tensors: [(name: String, dtype: String)]) -> [UInt8] {
        var end = 0
        var members: [String] = []
        for (name, dtype) in tensors {
            let size = 2 * (SafetensorsType(rawValue: dtype)?.bits ?? 8) / 8
            members.append("\"\(name)\":" + SafetensorsTests.tensor(dtype, "[2]", "[\(end),\(end + size)]"))
            end += size
        }
        return safetensors("{" + members.joined(separator: ",") + "}", dataCount: end)
    }

    @Test func refusesTensors() throws {
        let folder = try Self.folder(single: [("a", "F32"), ("b", "I64"), ("c", "BF16"), ("d", "F16")])
        let checkpoint = try Checkpoint.open(folder.path)
        #expect(try checkpoint.tensor("c", shape: [2]).dtype == .bf16)
        #expect(try checkpoint.tensor("d", shape: [2]).dtype == .f16)
        let a = try checkpoint.tensor("a", shape: [2])
        #expect(try bytes(of: a).elementsEqual(0..<8))
        expectRefusal(.tensor, ["tensor \"x\" is missing", "[7, 8]"]) { _ = try checkpoint.tensor("x", shape: [7, 8]) }
        expectRefusal(.tensor, ["model.safetensors", "\"a\": shape is [2]", "expected [2, 1]"]) {
            _ = try checkpoint.tensor("a", shape: [2, 1])
        }
        expectRefusal(.tensor, ["\"b\": dtype is I64", "F32, F16 or BF16"]) {
            _ = try checkpoint.tensor("b", shape: [2])
        }
        // A buffer of integers without a place is left out.
        #expect(checkpoint.unusedTensors == [])
        #expect(checkpoint.notes == ["left out 1 tensor (buffers that follow from the config): b"])
    }

    @Test func tensorsOutliveTheCheckpoint() throws {
        let folder = try Self.folder(single: [("a", "F32")])
        let tensor = try Checkpoint.open(folder.path).tensor("a", shape: [2])
        #expect(try bytes(of: tensor).starts(with: [0, 1, 2, 3]))
        #expect(tensor.places.count == 1 && tensor.places[0].file.path.hasSuffix("model.safetensors"))
    }

    @Test func acceptsAliases() throws {
        let folder = try Self.folder(single: [
            ("model.language_model.norm.weight", "F32"), ("model.lm_head.weight", "F32"),
        ])
        let checkpoint = try Checkpoint.open(folder.path)
        #expect(checkpoint.unusedTensors == ["lm_head.weight", "model.norm.weight"])
        _ = try checkpoint.tensor("model.norm.weight", shape: [2])
        #expect(checkpoint.unusedTensors == ["lm_head.weight"])

        let twice = try Self.folder(single: [("lm_head.weight", "F32"), ("model.lm_head.weight", "F32")])
        expectRefusal(.tensor, ["\"lm_head.weight\"", "\"model.lm_head.weight\"", "two names"]) {
            _ = try Checkpoint.open(twice.path)
        }
    }

    @Test func readsTheGenerationConfig() throws {
        let folder = try Self.folder(single: [("a", "F32")])
        #expect(try Checkpoint.open(folder.path).config.eosTokenIDs == [])
        try folder.write("generation_config.json", "{\"eos_token_id\":[156892,156900]}")
        #expect(try Checkpoint.open(folder.path).config.eosTokenIDs == [156_892, 156_900])
        try folder.write("generation_config.json", "{")
        expectRefusal(.json, ["generation_config.json: line 1, column 2"]) { _ = try Checkpoint.open(folder.path) }
        try FileManager.default.removeItem(atPath: folder.path + "/generation_config.json")
        // An unfinished download of a cache that works with links.
        try FileManager.default.createSymbolicLink(
            atPath: folder.path + "/generation_config.json", withDestinationPath: "absent")
        expectRefusal(.io, ["generation_config.json", "No such file"]) { _ = try Checkpoint.open(folder.path) }
    }

    @Test func refusesFolders() throws {
        expectRefusal(.io, ["there is no folder /nowhere"]) { _ = try Checkpoint.open("/nowhere") }
        expectRefusal(.io, ["empty"]) { _ = try Checkpoint.open("") }
        expectRefusal(.io, ["NUL"]) { _ = try Checkpoint.open("/tmp\u{0}") }
        let folder = try Self.folder()
        expectRefusal(.io, [folder.path, "neither model.safetensors nor model.safetensors.index.json"]) {
            _ = try Checkpoint.open(folder.path)
        }
        expectRefusal(.io, ["config.json is neither a folder nor a GGUF file"]) {
            _ = try Checkpoint.open(folder.path + "/config.json")
        }
        try FileManager.default.createDirectory(
            atPath: folder.path + "/model.safetensors", withIntermediateDirectories: true)
        expectRefusal(.io, ["model.safetensors is a folder"]) { _ = try Checkpoint.open(folder.path) }
    }

    @Test func reportsProgressAndStops() throws {
        let folder = "\(Fixture.conformance)/gqa_group"
        var parts: [Double] = []
        _ = try Checkpoint.open(folder) { (part) throws(LLaDAError) in parts.append(part) }
        #expect(parts.last == 1 && parts == parts.sorted() && (parts.first ?? -1) > 0)
        expectRefusal(.stopped, ["enough"]) {
            _ = try Checkpoint.open(folder) { (_) throws(LLaDAError) in throw LLaDAError(.stopped, "enough") }
        }
    }

    /// Threads may ask for tensors of one checkpoint together.
    @Test func isSafeToShare() async throws {
        let names = (0..<200).map { "t\($0)" }
        let folder = try Self.folder(single: names.map { ($0, "F32") })
        let checkpoint = try Checkpoint.open(folder.path)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for name in names { group.addTask { _ = try checkpoint.tensor(name, shape: [2]) } }
            try await group.waitForAll()
        }
        #expect(checkpoint.unusedTensors == [])
    }
}
