import Foundation
import LLaDA
import Testing

/// Strings and ids from Hugging Face `tokenizers`, see make_fixtures.py.
@Suite struct HuggingFaceTests {
    @Test(arguments: ["ling", "gpt2", "odd", "prefix"])
    func idsAndTextsAreTheJudges(name: String) throws {
        let tokenizer = try TextFixture.tokenizer(name)
        let fields = try TextFixture.fields("\(name).bin")
        #expect(fields.count == 2600 * 5)
        var wrong: [String] = []
        for start in stride(from: 0, to: fields.count, by: 5) {
            let text = Array(fields[start])
            let ids = TextFixture.ids(fields[start + 1])
            let plain = fields[start + 2].isEmpty ? ids : TextFixture.ids(fields[start + 2].dropFirst())
            let decoded = fields[start + 3].isEmpty ? text : Array(fields[start + 3].dropFirst())
            let skipped = fields[start + 4].isEmpty ? decoded : Array(fields[start + 4].dropFirst())
            var failures: [String] = []
            if try tokenizer.encode(text, controlTokens: .interpreted) != ids { failures.append("ids") }
            if try tokenizer.encode(text, controlTokens: .asText) != plain {
                failures.append("ids of control tokens as text")
            }
            if Array(try tokenizer.decode(ids).utf8) != decoded { failures.append("text") }
            if Array(try tokenizer.decode(ids, skipSpecialTokens: true).utf8) != skipped {
                failures.append("text without specials")
            }
            var stream = TextStream(tokenizer)
            var streamed = ""
            for id in ids { streamed += try stream.push([id]) }
            streamed += stream.finish()
            if Array(streamed.utf8) != decoded { failures.append("streamed text") }
            if !failures.isEmpty {
                wrong.append("\(start / 5): \(failures) of \(String(decoding: text, as: UTF8.self).debugDescription)")
            }
        }
        #expect(wrong.isEmpty, "\(wrong.count) wrong: \(wrong.prefix(5))")
    }

    @Test func normalizationIsTheJudges() throws {
        let nfc = NFC()
        let fields = try TextFixture.fields("nfc.bin")
        #expect(fields.count == 2600 * 2)
        var wrong: [Int] = []
        for start in stride(from: 0, to: fields.count, by: 2) {
            let normal = try fields[start].withUnsafeBufferPointer { try nfc.normalized($0) } ?? Array(fields[start])
            if normal != Array(fields[start + 1]) { wrong.append(start / 2) }
        }
        #expect(wrong.isEmpty, "\(wrong.count) wrong: \(wrong.prefix(5))")
    }

    /// The marks of U+0F73 are to be put in order, which the standard library's normalization does not.
    @Test func decomposingMarksAreOrdered() throws {
        let nfc = NFC()
        let normal = try Array("a\u{345}\u{F73}".utf8).withUnsafeBufferPointer { try nfc.normalized($0) }
        #expect(normal == Array("a\u{F71}\u{F72}\u{345}".utf8))
    }
}
