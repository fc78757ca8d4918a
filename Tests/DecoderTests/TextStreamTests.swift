import Foundation
import LLaDA
import Testing

/// Streams over scripted decoders, with a token for each byte: characters are spread over as many tokens as they can.
@Suite struct TextStreamTests {
    private static let mask: Int32 = 256
    private static let end: Int32 = 257
    private static let text = "né 中文 😀 \u{FFFD} 👩‍👩‍👧‍👦 end"

    private let tokenizer: Tokenizer

    init() throws {
        var vocabulary: [String: Int] = [:]
        var others: UInt32 = 0x100
        for byte in UInt32(0)..<256 {  // GPT-2's characters of bytes
            let isItself = 0x21...0x7E ~= byte || 0xA1...0xAC ~= byte || 0xAE...0xFF ~= byte
            let scalar = try #require(Unicode.Scalar(isItself ? byte : others))
            if !isItself { others += 1 }
            vocabulary[String(Character(scalar))] = Int(byte)
        }
        let byteLevel: [String: Any] = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        let added = [("<|mask|>", Self.mask), ("<|endoftext|>", Self.end)].map { content, id -> [String: Any] in
            [
                "id": Int(id), "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            ]
        }
        let root: [String: Any] = [
            "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "normalizer": NSNull(),
            "pre_tokenizer": byteLevel, "post_processor": NSNull(), "decoder": byteLevel, "added_tokens": added,
            "model": ["type": "BPE", "vocab": vocabulary, "merges": [String]()] as [String: Any],
        ]
        let data = try JSONSerialization.data(withJSONObject: root)
        tokenizer = try Tokenizer(SharedBytes(copying: Array(data)))
    }

    private func decoder(
        _ policy: Policy, target: [Int32], blockLength: Int = 4,
        _ answer: @escaping ([Int32], Int, Bool) -> (Int32, Double)
    ) throws -> Decoder {
        var options = Decoder.Options()
        options.blockLength = blockLength
        options.genLength = target.count
        options.policy = policy
        let sequence = CachedSequence(try Script(vocabSize: 258, answer), blockLength: blockLength)
        return try Decoder(sequence, maskID: Self.mask, eosIDs: [Self.end], prompt: [65], options: options)
    }

    /// Writes the target in a scattered order; with errors, at some positions something else as long as there are
    /// masks.
    private func scattered(_ policy: Policy, _ target: [Int32], errors: Bool = true) throws -> Decoder {
        try decoder(policy, target: target) { tokens, position, isWindow in
            let wanted = position > 0 && position <= target.count ? target[position - 1] : Self.end
            let isOpen = tokens.contains(Self.mask)
            if errors, isOpen, position % 5 == 2, !isWindow { return (0x78, 0.96) }
            return (wanted, 0.3 + 0.69 * Double(position * 7 % 11) / 11)
        }
    }

    static let policies: [Policy] = [
        .lowConfidence, .speedy, .quality, Policy.preset(of: .jointThreshold), .qualityMBE,
    ]

    @Test(arguments: policies.indices, [nil, "░"])
    func settledTextIsTheOutputs(policy: Int, mask: String?) throws {
        let target = Self.text.utf8.map(Int32.init) + [Self.end]
        for (skips, errors) in [(true, true), (false, true), (true, false)] {
            let decoder = try scattered(Self.policies[policy], target, errors: errors)
            var stream = TextStream(tokenizer, skipSpecialTokens: skips, mask: mask)
            var text = ""
            while !decoder.isFinished {
                try decoder.step()
                let update = try stream.update(decoder)
                text += update.settled
                #expect(!decoder.isFinished || update.draft.isEmpty)
                // What is shown has no part of a character: without errors, U+FFFD is the text's own.
                let shown = text + update.draft
                let broken = shown.unicodeScalars.count { $0 == "\u{FFFD}" }
                #expect(errors || broken <= 1, "\(shown)")
                if mask == nil, !errors { #expect(Self.text.utf8.starts(with: shown.utf8), "\(shown)") }
            }
            if !errors { #expect(text == Self.text) }
            #expect(try text == tokenizer.decode(decoder.output, skipSpecialTokens: skips))
            #expect(try stream.update(decoder) == .init(settled: "", draft: ""))
            #expect(stream.finish().isEmpty)
            // At any time, a new stream begins with all that is settled.
            #expect(try stream.update(decoder).settled == text)
        }
    }

    /// What multi-block editing may still change is a draft, though its block is done.
    @Test func whatIsEditedLaterIsNotGivenTwice() throws {
        var policy = Policy.speedy
        policy.mbeWindow = 2
        let target = Array("abcdefghijk".utf8.map(Int32.init))
        let decoder = try decoder(policy, target: target) { tokens, position, isWindow in
            guard position > 0 else { return (65, 0.9) }
            return (isWindow && position == 2 && tokens.count > 4 ? 0x58 : target[min(position, 11) - 1], 0.9)
        }
        var stream = TextStream(tokenizer)
        var seen: [TextStream.Update] = []
        while !decoder.isFinished {
            try decoder.step()
            seen.append(try stream.update(decoder))
        }
        #expect(seen.first == .init(settled: "", draft: "abc"))
        #expect(seen.contains(.init(settled: "", draft: "abcdefg")))
        #expect(seen.contains(.init(settled: "aXc", draft: "defg")), "\(seen)")
        #expect(seen.last?.draft == "" && seen.map(\.settled).joined() == "aXcdefghijk")
    }

    /// Parts of characters beside a mask wait for it.
    @Test func masksAreShownWhereTokensFollow() throws {
        let decoder = try decoder(.speedy, target: Array(repeating: 0x2E, count: 7)) { _, _, _ in (0x2E, 0.9) }
        let bytes = Array("é中".utf8.map(Int32.init))  // C3 A9 E4 B8 AD, at positions 1...5
        var shown: [[String]] = []
        for position in [1, 3, 5, 4, 2] {
            try decoder.setToken(at: position, to: bytes[position - 1])
            var (masks, none) = (TextStream(tokenizer, mask: "░"), TextStream(tokenizer))
            shown.append([try masks.update(decoder).draft, try none.update(decoder).draft])
        }
        #expect(shown == [["", ""], ["░", ""], ["░░", ""], ["░中", ""], ["é中", "é中"]])
    }

    @Test func streamsKnowWhatTheyHaveGiven() throws {
        let target = Self.text.utf8.map(Int32.init)
        let decoder = try scattered(.speedy, target)
        var stream = TextStream(tokenizer)
        try decoder.runBlock()
        try decoder.runBlock()
        let first = try stream.update(decoder).settled
        #expect(!first.isEmpty)
        // A fork goes on with a copy of the stream, or with the stream itself.
        let fork = try decoder.fork()
        try fork.run()
        var copy = stream
        #expect(first + (try copy.update(fork).settled) == Self.text)
        // The origin is behind the fork now, and on what the fork settled it has nothing to say yet.
        let refusal = #expect(throws: LLaDAError.self) { try copy.update(decoder) }
        #expect(refusal?.status == .state)
        #expect(try copy.update(fork).settled.isEmpty)
        try decoder.setToken(at: 2, to: 0x21)
        #expect(throws: LLaDAError.self) { try stream.update(decoder) }
        try decoder.setToken(at: 2, to: target[1])
        try decoder.truncate(to: 4)
        #expect(throws: LLaDAError.self) { try stream.update(decoder) }
        _ = stream.finish()
        #expect(try stream.update(decoder).settled == "né")
    }

    /// After an end that is settled, nothing follows, though decoding goes on.
    @Test func textEndsWithTheSequence() throws {
        let target: [Int32] = [0x61, Self.end] + Array(repeating: 0x62, count: 9)
        var policy = Policy.speedy
        policy.editingThreshold = 1
        var options = Decoder.Options()
        (options.blockLength, options.genLength, options.eosEarlyStop, options.policy) = (4, 11, false, policy)
        let script = try Script(vocabSize: 258) { _, position, _ in (target[max(position, 1) - 1], 0.9) }
        let decoder = try Decoder(
            CachedSequence(script, blockLength: 4), maskID: Self.mask, eosIDs: [Self.end], prompt: [65],
            options: options)
        var stream = TextStream(tokenizer, skipSpecialTokens: true)
        var seen = ""
        while !decoder.isFinished {
            try decoder.step()
            let update = try stream.update(decoder)
            seen += update.settled
            #expect(update.draft == "a" || update.draft == "")
        }
        #expect(seen == "a")
    }
}
