import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct LoadingTests {
    @Test func theTinyTokenizerLoads() throws {
        let tokenizer = try TinyTokenizer().load(modelVocabularySize: 300)
        #expect(tokenizer.vocabularySize == 262)
        #expect(try tokenizer.encode("abc<|mask|>", controlTokens: .interpreted) == [257, 258])
        #expect(tokenizer.id(of: "<|mask|>") == 258 && tokenizer.id(of: "abc") == 257 && tokenizer.id(of: "abd") == nil)
        #expect(
            tokenizer.isSpecial(258) && !tokenizer.isSpecial(260) && !tokenizer.isSpecial(-1)
                && !tokenizer.isSpecial(999))
        #expect(tokenizer.bytes(of: 256) == Array("ab".utf8) && tokenizer.bytes(of: 0) == [0])
        #expect(tokenizer.bytes(of: -1) == nil && tokenizer.bytes(of: 262) == nil)
        // The padding of the model's vocabulary decodes to nothing; what is beyond is refused.
        #expect(try tokenizer.decode([257, 299, 0x41]) == "abcA")
        for id in [Int32(300), -1, .max, .min] {
            let error = #expect(throws: LLaDAError.self) { try tokenizer.decode([0x41, id]) }
            #expect(error?.status == .invalidArgument && error?.message.contains("token id \(id) ") == true)
        }
    }

    /// A text is neither cut nor filled up, whatever the file says about that.
    @Test func truncationAndPaddingAreIgnored() throws {
        var tiny = TinyTokenizer()
        tiny.set("truncation", ["max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"])
        tiny.set("padding", ["strategy": ["Fixed": 64], "pad_id": 5, "pad_token": "x", "direction": "Right"])
        #expect(try tiny.load().encode("a b c d e f g h") == TinyTokenizer().load().encode("a b c d e f g h"))
    }

    /// "Ö" is the sign of a byte in a token of the vocabulary, and itself in an added token.
    @Test func anAddedTokenIsItsOwnText() throws {
        var tiny = TinyTokenizer()
        let added = tiny.root["added_tokens"] as? [[String: Any]] ?? []
        tiny.root["added_tokens"] = added + [TinyTokenizer.added(262, "ÖÖ"), TinyTokenizer.added(263, "a Ö")]
        let tokenizer = try tiny.load()
        #expect(try tokenizer.decode([262, 0x41, 263]) == "ÖÖAa Ö")
        #expect(try tokenizer.encode("ÖÖA") == [262, 0x41])
        #expect(tokenizer.id(of: "ÖÖ") == 262 && tokenizer.bytes(of: 262) == Array("ÖÖ".utf8))
        #expect(tokenizer.bytes(of: 0xD6) == [0xD6])
    }

    static let refusals:
        [(change: String, status: Status, words: String, edit: @Sendable (inout TinyTokenizer) -> Void)] = [
            ("version", .unsupported, #"version is "2.0""#, { $0.set("version", "2.0") }),
            ("normalizer", .unsupported, #"normalizer.type is "NFKC""#, { $0.set("normalizer", ["type": "NFKC"]) }),
            (
                "normalizers", .unsupported, #"normalizer.normalizers[1].type is "Lowercase""#,
                {
                    $0.set(
                        "normalizer", ["type": "Sequence", "normalizers": [["type": "NFC"], ["type": "Lowercase"]]])
                }
            ),
            ("no pre-tokenizer", .unsupported, "pre_tokenizer is null", { $0.set("pre_tokenizer", NSNull()) }),
            (
                "pre-tokenizer", .unsupported, #"pre_tokenizer.type is "Whitespace""#,
                { $0.set("pre_tokenizer", ["type": "Whitespace"]) }
            ),
            (
                "no ByteLevel", .unsupported, #"pre_tokenizer.type is "Split""#,
                {
                    $0.set(
                        "pre_tokenizer",
                        ["type": "Split", "pattern": ["Regex": "a"], "behavior": "Isolated", "invert": false]
                            as [String: Any])
                }
            ),
            (
                "behavior", .unsupported, #"pretokenizers[0].behavior is "Removed""#,
                { $0.setSplit(["behavior": "Removed"]) }
            ),
            ("invert", .unsupported, "pretokenizers[0].invert is true", { $0.setSplit(["invert": true]) }),
            (
                "pattern", .unsupported, "pretokenizers[0].pattern.Regex is the pattern",
                { $0.setSplit(["pattern": ["Regex": "(?<!a)b"]]) }
            ),
            (
                "empty string", .unsupported, "pretokenizers[0].pattern.String",
                { $0.setSplit(["pattern": ["String": ""]]) }
            ),
            (
                "post-processor", .unsupported, #"post_processor.type is "BertProcessing""#,
                { $0.set("post_processor", ["type": "BertProcessing"]) }
            ),
            ("no decoder", .unsupported, "decoder is null", { $0.set("decoder", NSNull()) }),
            ("decoder", .unsupported, #"decoder.type is "Metaspace""#, { $0.set("decoder", ["type": "Metaspace"]) }),
            (
                "decoders", .unsupported, #"decoder.decoders[1].type is "Strip""#,
                {
                    $0.set("decoder", ["type": "Sequence", "decoders": [["type": "ByteLevel"], ["type": "Strip"]]])
                }
            ),
            ("model", .unsupported, #"model.type is "WordPiece""#, { $0.set("model/type", "WordPiece") }),
            ("dropout", .unsupported, "model.dropout is 0.5", { $0.set("model/dropout", 0.5) }),
            (
                "prefix", .unsupported, ###"model.continuing_subword_prefix is "##""###,
                { $0.set("model/continuing_subword_prefix", "##") }
            ),
            (
                "suffix", .unsupported, #"model.end_of_word_suffix is "</w>""#,
                { $0.set("model/end_of_word_suffix", "</w>") }
            ),
            ("fallback", .unsupported, "model.byte_fallback is true", { $0.set("model/byte_fallback", true) }),
            ("no vocabulary", .tokenizer, "model.vocab is null", { $0.set("model/vocab", nil) }),
            ("no merges", .tokenizer, "model.merges is null", { $0.set("model/merges", nil) }),
            (
                "missing byte", .tokenizer, "model.vocab is without a token for byte 65",
                { $0.set("model/vocab/A", nil) }
            ),
            ("negative id", .tokenizer, #"model.vocab["A"] is -1"#, { $0.set("model/vocab/A", -1) }),
            ("large id", .tokenizer, #"model.vocab["A"] is 16777216"#, { $0.set("model/vocab/A", 1 << 24) }),
            ("id of text", .tokenizer, #"model.vocab["A"] is "65""#, { $0.set("model/vocab/A", "65") }),
            ("id twice", .tokenizer, "expected an id that is not that of", { $0.set("model/vocab/A", 66) }),
            ("unknown left", .tokenizer, #"model.merges[0] is "xy" + "a""#, { $0.set("model/merges", ["xy a"]) }),
            (
                "unknown join", .tokenizer, #"model.merges[1] is "b" + "a""#,
                { $0.set("model/merges", [["a", "b"], ["b", "a"]]) }
            ),
            ("merge of three", .tokenizer, #"model.merges[0] is "a b c""#, { $0.set("model/merges", ["a b c"]) }),
            ("merge of one", .tokenizer, "model.merges[0] is an array of 1", { $0.set("model/merges", [["a"]]) }),
            (
                "added id", .tokenizer, "added_tokens[0].id is 300; expected 258",
                { $0.set("added_tokens", [TinyTokenizer.added(300, "<x>")]) }
            ),
            (
                "added id taken", .tokenizer, "added_tokens[0].id is 5; expected 258",
                { $0.set("added_tokens", [TinyTokenizer.added(5, "<x>")]) }
            ),
            (
                "added twice", .tokenizer, "added_tokens[1].id is 258; expected 259",
                {
                    $0.set("added_tokens", [TinyTokenizer.added(258, "<x>"), TinyTokenizer.added(258, "<x>")])
                }
            ),
            (
                "added empty", .tokenizer, #"added_tokens[0].content is """#,
                { $0.set("added_tokens", [TinyTokenizer.added(258, "")]) }
            ),
            (
                "added without flags", .tokenizer, "added_tokens[0].single_word is null",
                { $0.set("added_tokens", [["id": 258, "content": "x<"] as [String: Any]]) }
            ),
            (
                "special byte", .tokenizer, "a special token with id 65",
                { $0.set("added_tokens", [TinyTokenizer.added(65, "A", special: true)]) }
            ),
            (
                "special beyond NFC", .unsupported, "added_tokens[0].content",
                {
                    $0.set("normalizer", ["type": "NFC"])
                    $0.set("added_tokens", [TinyTokenizer.added(258, "<e\u{301}>", special: true, normalized: true)])
                }
            ),
        ]

    @Test(arguments: refusals.indices)
    func whatIsNotImplementedIsRefused(index: Int) throws {
        let refusal = Self.refusals[index]
        var tiny = TinyTokenizer()
        refusal.edit(&tiny)
        let error = #expect(throws: LLaDAError.self, "\(refusal.change)") { try tiny.load() }
        #expect(error?.status == refusal.status, "\(refusal.change): \(error?.description ?? "")")
        #expect(error?.message.hasPrefix("tokenizer.json: ") == true, "\(refusal.change): \(error?.message ?? "")")
        #expect(error?.message.contains(refusal.words) == true, "\(refusal.change): \(error?.message ?? "")")
    }

    @Test func aModelSmallerThanItsTokenizerIsRefused() {
        let error = #expect(throws: LLaDAError.self) { try TinyTokenizer().load(modelVocabularySize: 261) }
        #expect(error?.status == .tokenizer)
    }

    @Test func equivalentSpellingsLoad() throws {
        var tiny = TinyTokenizer()
        tiny.set("model/merges", ["#version: 0.2", "a b", "ab c"])
        tiny.set("model/type", nil)
        tiny.set("model/dropout", 0)
        tiny.set("model/unk_token", "A")
        tiny.set(
            "post_processor",
            ["type": "Sequence", "processors": [["type": "ByteLevel"], ["type": "TemplateProcessing"]]])
        tiny.set("decoder", ["type": "Sequence", "decoders": [["type": "ByteLevel"], ["type": "Fuse"]]])
        tiny.setSplit(["pattern": ["String": "b"]])
        #expect(try tiny.load().encode("abc aabc") == [97, 98, 99, 32, 97, 97, 98, 99])
    }

    /// Damaged files are refused or loaded; the process survives, and what has loaded can be used.
    @Test func mutatedFilesNeverCrash() throws {
        var tiny = TinyTokenizer()
        tiny.set("normalizer", ["type": "NFC"])
        tiny.setSplit(["pattern": ["Regex": PatternTests.ling]])
        let original = Array(try tiny.data())
        var random = SeededGenerator(state: 20)
        var loaded = 0
        let tokens: [[UInt8]] = [
            "{", "}", "[", "]", "null", "-1", "1e9", "\"\"", "true", "0", "\\p{L}", "(?:", "{1,900}", "*", "+",
            "\u{301}", ",",
        ].map { Array($0.utf8) }
        for _ in 0..<400 {
            var bytes = original
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                // The vocabulary is most of the file and the least interesting part.
                let place =
                    Bool.random(using: &random)
                    ? Int.random(in: 0..<min(700, bytes.count), using: &random)
                    : Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(place..<min(place + Int.random(in: 1..<20, using: &random), bytes.count))
                case 2: bytes.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: place)
                default: bytes[place] = UInt8.random(in: 0x20...0x7E, using: &random)
                }
            }
            do throws(LLaDAError) {
                let tokenizer = try Tokenizer(SharedBytes(copying: bytes))
                loaded += 1
                let ids = try tokenizer.encode("ab c<|mask|> e\u{301} 12\n\n  x", controlTokens: .interpreted)
                _ = try tokenizer.decode(ids)
            } catch {
                #expect(error.status == .json || error.status == .tokenizer || error.status == .unsupported)
            }
        }
        #expect(loaded > 0)
    }
}

extension TinyTokenizer {
    /// A `Split` before `ByteLevel`, with some of its values changed.
    mutating func setSplit(_ changes: [String: Any]) {
        var split: [String: Any] = [
            "type": "Split", "pattern": ["Regex": " ?[a-z]+"], "behavior": "Isolated", "invert": false,
        ]
        for (key, value) in changes { split[key] = value }
        let byteLevel: [String: Any] = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
        ]
        set("pre_tokenizer", ["type": "Sequence", "pretokenizers": [split, byteLevel]] as [String: Any])
    }
}
