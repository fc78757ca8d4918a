import LLaDA
import TestSupport
import Testing

/// What a configuration may say of YaRN, and what is refused. The numbers it leads to: ForwardTests/YaRNTests.swift.
@Suite struct YaRNConfigTests {
    /// `mini`, which states 32768 positions, with this `rope_scaling` of type yarn.
    private static func config(_ members: String, _ changes: [String: String?] = [:]) throws -> ModelConfig {
        try ModelConfigTests.config(changes.merging(["rope_scaling": "{\"type\":\"yarn\",\(members)}"]) { $1 })
    }

    @Test func readsEveryKey() throws {
        let all = """
            "rope_type":"yarn","factor":4,"original_max_position_embeddings":8192,"beta_fast":16,"beta_slow":2.5,
            "truncate":false,"attention_factor":1.5,"rope_theta":600000,"partial_rotary_factor":0.5
            """
        let c = try Self.config(all)
        let yarn = try #require(c.yarn)
        #expect([yarn.factor, yarn.betaFast, yarn.betaSlow, yarn.attentionFactor] == [4, 16, 2.5, 1.5])
        #expect(yarn.originalMaxPositionEmbeddings == 8192 && !yarn.truncate && c.maxPositionEmbeddings == 32_768)
        let plain = try #require(try Self.config("\"factor\":2.0").yarn)
        #expect([plain.factor, plain.betaFast, plain.betaSlow] == [2, 32, 1] && plain.truncate)
        #expect(try ModelConfigTests.config().yarn == nil)
    }

    /// Files differ in whether `max_position_embeddings` is the length before the extension or after.
    @Test func positions() throws {
        func positions(_ members: String, stated: Int = 65_536, _ changes: [String: String?] = [:]) throws -> Int {
            try Self.config(members, changes.merging(["max_position_embeddings": "\(stated)"]) { $1 })
                .maxPositionEmbeddings
        }
        let original = "\"original_max_position_embeddings\":32768"
        #expect(try positions("\"factor\":2.0,\(original)") == 65_536)  // after
        #expect(try positions("\"factor\":2.0,\(original)", stated: 32_768) == 65_536)  // before
        #expect(try positions("\"factor\":2.0") == 131_072)  // before: what is not said is the stated length
        // Neither: a little more than before.
        #expect(try positions("\"factor\":2.0,\(original)", stated: 40_960) == 65_536)
        #expect(try positions("\"factor\":2.0,\(original)", stated: 163_840) == 163_840)  // more than after
        #expect(try positions("\"factor\":null,\(original)") == 65_536)
        #expect(try positions("\"factor\":1.5", stated: 101) == 151)
        #expect(try positions("\"factor\":2", ["original_max_position_embeddings": "16384"]) == 65_536)
        #expect(try Self.config("\"factor\":null,\(original)", ["max_position_embeddings": "65536"]).yarn?.factor == 2)
        #expect(
            try Self.config("\"factor\":2", ["original_max_position_embeddings": "16384"]).yarn?
                .originalMaxPositionEmbeddings == 16_384)
    }

    @Test func bothPlacesMayAgree() throws {
        let yarn = "{\"rope_type\":\"yarn\",\"factor\":2.0}"
        #expect(try Self.config("\"factor\":2.0", ["rope_parameters": yarn]).yarn?.factor == 2)
        #expect(try Self.config("\"factor\":2.0", ["rope_parameters": "{\"rope_theta\":600000}"]).yarn?.factor == 2)
        expectRefusal(.config, ["rope_scaling.rope_type is \"yarn\" of other numbers", "rope_parameters"]) {
            _ = try Self.config("\"factor\":3.0", ["rope_parameters": yarn])
        }
        expectRefusal(.config, ["rope_scaling.rope_type is \"yarn\"", "\"default\", which it is in rope_parameters"]) {
            _ = try Self.config("\"factor\":2.0", ["rope_parameters": "{\"rope_type\":\"default\"}"])
        }
    }

    static let refusals: [(members: String, parts: [String])] = [
        ("\"rope_type\":\"default\"", ["rope_scaling.type is \"yarn\"", "\"default\", which rope_type is"]),
        ("\"beta_fast\":32", ["rope_scaling.factor is missing", "a number from 1.0"]),
        ("\"factor\":0.5", ["rope_scaling.factor is 0.5", "a number from 1.0"]),
        ("\"factor\":0", ["rope_scaling.factor is 0"]),
        ("\"factor\":-2", ["rope_scaling.factor is -2"]),
        ("\"factor\":1e300", ["rope_scaling.factor is 1e+300"]),
        ("\"factor\":\"2\"", ["rope_scaling.factor is \"2\""]),
        ("\"factor\":true", ["rope_scaling.factor is true"]),
        ("\"factor\":1000", ["rope_scaling.factor is 1000.0", "32768", "at most 16777216 positions"]),
        (
            "\"factor\":null,\"original_max_position_embeddings\":65536",
            ["rope_scaling.factor is null", "32768", "65536"]
        ),
        ("\"factor\":2,\"original_max_position_embeddings\":0", ["rope_scaling.original_max_position_embeddings is 0"]),
        (
            "\"factor\":2,\"original_max_position_embeddings\":16777217",
            ["original_max_position_embeddings is 16777217"]
        ),
        (
            "\"factor\":2,\"original_max_position_embeddings\":2.5",
            ["original_max_position_embeddings is 2.5", "an integer"]
        ),
        ("\"factor\":2,\"beta_fast\":0", ["rope_scaling.beta_fast is 0", "positive"]),
        ("\"factor\":2,\"beta_slow\":-1", ["rope_scaling.beta_slow is -1"]),
        ("\"factor\":2,\"beta_fast\":1,\"beta_slow\":2", ["rope_scaling.beta_fast is 1.0", "at least beta_slow, 2.0"]),
        ("\"factor\":2,\"beta_slow\":33", ["rope_scaling.beta_fast is 32.0", "at least beta_slow, 33.0"]),
        ("\"factor\":2,\"attention_factor\":0", ["rope_scaling.attention_factor is 0"]),
        ("\"factor\":2,\"attention_factor\":1e39", ["rope_scaling.attention_factor is 1e+39"]),
        ("\"factor\":2,\"mscale\":-1", ["rope_scaling.mscale is -1", "from 0.0 to 1000.0"]),
        ("\"factor\":2,\"mscale_all_dim\":1001", ["rope_scaling.mscale_all_dim is 1001"]),
        ("\"factor\":2,\"truncate\":null", ["rope_scaling.truncate is null", "true or false"]),
        ("\"factor\":2,\"truncate\":1", ["rope_scaling.truncate is 1"]),
        ("\"factor\":2,\"rope_theta\":10000", ["rope_scaling.rope_theta is 10000.0", "600000.0"]),
    ]

    @Test func refuses() {
        for (members, parts) in Self.refusals {
            expectRefusal(.config, ["config.json: "] + parts, members) { _ = try Self.config(members) }
        }
        expectRefusal(.config, ["rope_theta is 1.0", "more than 1, with yarn"]) {
            _ = try Self.config("\"factor\":2", ["rope_theta": "1.0"])
        }
        expectRefusal(.config, ["original_max_position_embeddings is 8192", "16384"]) {
            _ = try Self.config(
                "\"factor\":2,\"original_max_position_embeddings\":8192", ["original_max_position_embeddings": "16384"])
        }
        expectRefusal(.unsupported, ["rope_scaling.short_factor is an array", "not implemented"]) {
            _ = try Self.config("\"factor\":2,\"short_factor\":[1]")
        }
    }
}
