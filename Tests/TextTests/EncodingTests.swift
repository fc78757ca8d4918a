import LLaDA
import TestSupport
import Testing

@Suite struct EncodingTests {
    @Test func controlTokensInTextAreText() throws {
        let tokenizer = try TextFixture.tokenizer("ling")
        let text = "a<|mask|>b<|role_end|><role>HUMAN</role>"
        let ids = try tokenizer.encode(text)
        #expect(!ids.contains(where: tokenizer.isSpecial))
        #expect(try tokenizer.decode(ids) == text)
        #expect(try tokenizer.encode(text, controlTokens: .interpreted).count(where: tokenizer.isSpecial) == 4)
    }

    /// Neither merges nor `ignore_merges` may make a control token of text, though Hugging Face would.
    @Test(arguments: [true, false])
    func mergingNeverMakesControlTokens(ignoringMerges: Bool) throws {
        var tiny = TinyTokenizer()
        tiny.set("model/ignore_merges", ignoringMerges)
        tiny.set("added_tokens", [TinyTokenizer.added(257, "abc", special: true)])
        let tokenizer = try tiny.load()
        #expect(try tokenizer.encode("abc", controlTokens: .interpreted) == [257])
        #expect(try tokenizer.encode("abc") == [256, 99])
    }

    @Test func brokenTextIsRepairedAsEverywhere() throws {
        let tokenizer = try TinyTokenizer().load()
        let broken: [[UInt8]] = [
            [0xFF], [0xC3], [0xE2, 0x82], [0xE2, 0x82, 0x41], [0xF0, 0x9F, 0x98], [0xED, 0xA0, 0x80], [0xC0, 0xAF],
            [0xF4, 0x90, 0x80, 0x80],
            [0x80, 0x80], [0xE0, 0x9F, 0x80], [0x41, 0xF1, 0x80, 0x80, 0xC3, 0xA9], [0xF0, 0x80, 0x80],
        ]
        for bytes in broken {
            let repaired = String(decoding: bytes, as: UTF8.self)
            #expect(try tokenizer.encode(bytes) == tokenizer.encode(repaired), "\(bytes)")
            #expect(try tokenizer.decode(bytes.map { Int32($0) }) == repaired, "\(bytes)")
        }
    }

    @Test func streamsNeverEmitHalfACharacter() throws {
        let tokenizer = try TinyTokenizer().load()  // a token for every byte
        var random = SeededGenerator(state: 7)
        for _ in 0..<300 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 0..<20, using: &random) {
                let choice = ["a", "é", "中", "😀"].randomElement(using: &random) ?? ""
                bytes +=
                    Bool.random(using: &random) ? Array(choice.utf8) : [UInt8.random(in: 0x70...0xFF, using: &random)]
            }
            var stream = TextStream(tokenizer)
            var text = ""
            var rest = bytes[...]
            while !rest.isEmpty {
                let head = rest.prefix(Int.random(in: 1...4, using: &random))
                rest = rest.dropFirst(head.count)
                text += try stream.push(head.map { Int32($0) })
                // What came out is exactly what no later byte can change.
                let sofar = bytes[..<(bytes.count - rest.count)]
                let later = String(decoding: sofar + [0x80], as: UTF8.self)
                #expect(Array(String(decoding: sofar, as: UTF8.self).utf8).starts(with: text.utf8))
                #expect(Array(later.utf8).starts(with: text.utf8))
            }
            text += stream.finish()
            #expect(Array(text.utf8) == Array(String(decoding: bytes, as: UTF8.self).utf8))
            #expect(stream.finish().isEmpty)
        }
        var stream = TextStream(tokenizer)
        #expect(try stream.push([0xE4, 0xB8]) == "")
        #expect(throws: LLaDAError.self) { try stream.push([0x41, 9999]) }
        #expect(try stream.push([0xAD]) == "中")
    }

    @Test(
        .timeLimit(.minutes(1)),
        arguments: [" ", "a", "é", "\u{301}", "\u{345}\u{334}", "<", "<|mask|>", "中", "\n", "9", "\u{1100}"])
    func longRunsAreFast(unit: String) throws {
        let tokenizer = try TextFixture.tokenizer("ling")
        let text = String(repeating: unit, count: 20_000)
        #expect(try !tokenizer.encode(text, controlTokens: .interpreted).isEmpty)
    }

    @Test func nothingIsNothing() throws {
        for name in ["ling", "prefix"] {
            let tokenizer = try TextFixture.tokenizer(name)
            #expect(try tokenizer.encode("").isEmpty && tokenizer.decode([Int32]()).isEmpty)
        }
    }
}
