import Foundation
import LLaDA
import TestSupport
import Testing

/// `Model.describe`, which reads no weights, beside models that are opened.
@Suite struct ModelDescriptionTests {
    @Test(arguments: ["gqa_group", "mha_nogroup", "mini_like"])
    func memoryIsWhatAnOpenedModelHolds(name: String) throws {
        let path = Fixture.folder(name)
        let description = Model.describe(path: path)
        #expect(description.loads && description.problems.isEmpty && description.container == .safetensors)
        #expect(description.memory.map(\.dtype) == [nil, .f32, .bf16, .int8, .int4])
        for memory in description.memory {
            var options = Model.Options()
            (options.dtype, options.threads) = (memory.dtype, 1)
            let model = try Model(path: path, options: options)
            #expect(memory.weightBytes == model.weightBytes && memory.kvDType == model.kvDType, "\(memory)")
            #expect(description.parameters == model.numParameters)
            #expect(memory.stepBytes <= memory.weightBytes)
        }
    }

    @Test func everyPartIsTried() throws {
        let folder = try TemporaryFolder()
        try folder.write("config.json", "{")
        try folder.write("tokenizer.json", "[]")
        try folder.write("model.safetensors", "noise, and more than the eight bytes of a length")
        let description = Model.describe(path: folder.path)
        #expect(!description.loads && description.memory.isEmpty && description.config == nil)
        for part in ["config.json", "tokenizer.json", "model.safetensors"] {
            #expect(description.problems.count { $0.message.contains(part) } == 1, "\(description.problems)")
        }
    }

    @Test(
        arguments: [
            ("{\"expert_capacity\": 48}", "# LLaDA2.1-mini", "", "x", "2.2"),
            ("{}", "---\nlicense: x\n---\n# LLaDA2.1-mini\n## and LLaDA2.0", "", "LLaDA2.0-mini", "2.1"),
            ("{}", "# LLaDA2.0-flash-CAP", "editing_threshold", "x", "2.0-CAP"),
            ("{}", "# 2.0 or 2.1", "def generate(editing_threshold)", "x", "2.1"),
            ("{}", "nothing", "nothing", "llada-2.0-mini", "2.0"), ("{", "", "", "x", nil),
        ] as [(String, String, String, String, String?)])
    func familiesAreGuessed(config: String, card: String, code: String, folder: String, name: String?) {
        let json = try? JSON.parse(Array(config.utf8), file: "config.json")
        let family = ModelFamily(config: json, card: card, code: code, folder: folder)
        #expect(family.name == name && !family.evidence.isEmpty)
    }
}
