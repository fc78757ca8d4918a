import Foundation
import LLaDA
import TestSupport
import Testing

/// YaRN beside Hugging Face transformers; Tests/Fixtures/yarn/make_yarn.py made the data.
@Suite struct YaRNTests {
    private static let folder = "\(Fixture.all)/yarn"

    /// A model of one layer with these keys in its configuration.
    private func config(_ fields: [String: Any]) throws -> ModelConfig {
        let whole: [String: Any] = [
            "model_type": "llada2_moe", "hidden_size": 64, "num_hidden_layers": 1, "first_k_dense_replace": 1,
            "vocab_size": 96,
            "intermediate_size": 64, "num_attention_heads": 4,
        ]
        let text = try JSONSerialization.data(withJSONObject: whole.merging(fields) { $1 })
        return try ModelConfig(try JSON.parse(Array(text), file: "config.json"))
    }

    @Test func frequenciesAreTransformers() throws {
        let file = try Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/parameters.json"))
        let records = try #require(try JSONSerialization.jsonObject(with: file) as? [[String: Any]])
        #expect(records.count >= 18)
        for record in records {
            let fields = try #require(record["config"] as? [String: Any])
            let expected = try #require(record["inverse_frequencies"] as? [Double])
            let factor = try #require(record["attention_factor"] as? Double)
            let rotary = Rotary(try config(fields))
            #expect(rotary.inverseFrequencies.count == expected.count)
            for (ours, theirs) in zip(rotary.inverseFrequencies, expected) {
                #expect(abs(Double(ours) - theirs) <= 1e-6 * theirs, "\(fields)")
            }
            #expect(abs(Double(rotary.scale) - factor) <= 1e-6 * factor, "\(fields)")
        }
    }

    /// Nothing of YaRN touches a model that does not ask for it.
    @Test func plainStaysAsItWas() throws {
        let rotary = Rotary(try config(["head_dim": 128, "rope_theta": 600_000.0]))
        #expect(rotary.inverseFrequencies == (0..<32).map { 1 / powf(600_000, Float(2 * $0) / 64) })
        var (cosines, sines) = ([Float](repeating: 0, count: 32), [Float](repeating: 0, count: 32))
        rotary.fill(&cosines, &sines, position: 4321)
        let angles = rotary.inverseFrequencies.map { Double(4321 * $0) }
        #expect(cosines == angles.map { Float(cos($0)) } && sines == angles.map { Float(sin($0)) })
    }

    /// The weights of a conformance model, turned by YaRN: the whole forward, most of it beyond the original context.
    @Test(arguments: ["gqa_group", "mha_nogroup"]) func logitsAreTheReferences(_ name: String) throws {
        let path = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        let files = FileManager.default
        try files.createDirectory(atPath: path, withIntermediateDirectories: false)
        let original = try Fixture(name)
        try files.copyItem(atPath: "\(original.folder)/model.safetensors", toPath: "\(path)/model.safetensors")
        func object(_ file: String) throws -> [String: Any] {
            try #require(
                try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file))) as? [String: Any])
        }
        let change = try object("\(Self.folder)/\(name)/change.json")
        let config = try object("\(original.folder)/config.json").merging(change) { $1 }
        try JSONSerialization.data(withJSONObject: config).write(to: URL(fileURLWithPath: "\(path)/config.json"))
        let model = try Model(path: path)
        #expect(model.config.yarn != nil)
        try ForwardConformanceTests.compare(model, try Fixture(name, of: "yarn"), name)
    }
}
