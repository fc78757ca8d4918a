import Foundation
import LLaDA
import TestSupport
import Testing

private let delete: Int32 = 12
private let split: Int32 = 13

/// Decoding that deletes and inserts, on scripts. Tokens are below 16: 12 deletes, 13 puts a mask before a token.
@Suite struct LevenshteinTests {
    private func decoder(
        _ prompt: [Int32], _ genLength: Int, blockLength: Int = 8, early: Bool = false, infill: Bool = false,
        _ policy: Policy = .levenshtein, _ answer: @escaping ([Int32], Int) -> (Int32, Double)
    ) throws -> Decoder {
        let script = try Script(vocabSize: 16) { tokens, position, _ in answer(tokens, position) }
        var options = Decoder.Options()
        (options.blockLength, options.genLength) = (blockLength, genLength)
        (options.eosEarlyStop, options.infill, options.policy) = (early, infill, policy)
        return try Decoder(
            CachedSequence(script, blockLength: blockLength), maskID: mask, eosIDs: [end],
            editTokens: EditTokens(delete: delete, split: split), prompt: prompt, options: options)
    }

    /// The events of a step, done to the canvas before it, give the canvas after it.
    private func follow(_ before: [Int32], _ events: [Decoder.Event]) -> [Int32] {
        var canvas = before
        for event in events {
            switch event.kind {
            case .insert:
                #expect(canvas.remove(at: event.last) == event.oldToken)
                canvas.insert(event.newToken, at: event.position)
            case .delete:
                #expect(canvas.remove(at: event.position) == event.oldToken)
                canvas.insert(event.newToken, at: event.last)
            case .unmask, .replace, .remask:
                #expect(canvas[event.position] == event.oldToken && event.last == event.position)
                canvas[event.position] = event.newToken
            }
        }
        return canvas
    }

    // MARK: Edits of the host

    private struct Scan: Decodable {
        let tokens, old, out: [Int32]
        let original, tracking: [Int]
        let prompt_len: Int
        let mask, delete, split: Int32
    }

    /// A block of old tokens, and a proposal for it: what the published scan makes of them.
    @Test func proposalsAreScannedAsPublished() throws {
        struct Units: Decodable { let edit_scan: [Scan] }
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(Fixture.conformance)/units.json"))
        let scans = try JSONDecoder().decode(Units.self, from: data).edit_scan
        #expect(scans.count == 6)
        for scan in scans {
            let count = scan.old.count
            let decoder = try decoder(
                Array(scan.old[..<scan.prompt_len]), count - scan.prompt_len, blockLength: count, .speedy
            ) { _, _ in (1, 0.9) }
            for position in scan.prompt_len..<count where scan.old[position] != mask {
                try decoder.setToken(at: position, to: scan.old[position])
            }
            try decoder.forward()
            var edits: [Decoder.Edit] = []
            for position in scan.prompt_len..<count where scan.tokens[position] != scan.old[position] {
                switch scan.tokens[position] {
                case scan.delete: edits.append(.init(position: position, token: 0, kind: .delete))
                case scan.split: edits.append(.init(position: position, token: mask, kind: .insert))
                case let token: edits.append(.init(position: position, token: token))
                }
            }
            try decoder.setProposal(edits)
            decoder.blockEnds = false
            try decoder.apply()
            #expect(Array(decoder.canvas) == scan.out)
            let host = decoder.events.prefix { $0.kind == .unmask }
            #expect(follow(scan.old, Array(decoder.events.dropFirst(host.count))) == scan.out)
        }
    }

    /// Tokens of the prompt and locked positions stay where they are, and nothing moves across them.
    @Test func nothingMovesAcrossThePromptOrALock() throws {
        let prompt: [Int32] = [1, mask, mask, mask, 2, mask, mask, mask]
        let decoder = try decoder(prompt, 0, infill: true, .speedy) { _, _ in (1, 0.1) }
        for (position, token) in [(1, 3), (2, 4), (3, 5), (5, 6), (6, 7), (7, 8)] as [(Int, Int32)] {
            try decoder.setToken(at: position, to: token)
        }
        try decoder.lock(at: 7, true)
        try decoder.forward()
        try decoder.setProposal([
            .init(position: 5, token: 9, kind: .insert), .init(position: 2, token: 0, kind: .delete),
        ])
        decoder.blockEnds = false
        try decoder.apply()
        #expect(Array(decoder.canvas) == [1, 3, 5, mask, 2, 9, 6, 8])
        #expect(decoder.locked[7] && Array(decoder.states[3..<5]) == [1, 0])
        #expect(decoder.insertions == 1 && decoder.deletions == 1)
        for position in [4, 7] {
            try decoder.forward()
            expectRefusal(.invalidArgument, ["position \(position)"]) {
                try decoder.setProposal([.init(position: position, token: 9, kind: .insert)])
            }
        }
    }

    /// Several tokens at one position come in their order; a token keeps when it was written; the last ones are lost.
    @Test func aWordOfSeveralTokensComesIn() throws {
        let decoder = try decoder([1], 7, .speedy) { _, position in (Int32(position), position < 4 ? 0.9 : 0.1) }
        try decoder.step()
        #expect(Array(decoder.canvas) == [1, 1, 2, 3, mask, mask, mask, mask])
        try decoder.forward()
        try decoder.setProposal([
            .init(position: 2, token: 9, kind: .insert), .init(position: 3, token: 0, kind: .delete),
            .init(position: 2, token: 10, kind: .insert), .init(position: 1, token: 4),
            .init(position: 2, token: 11, kind: .insert),
        ])
        let kinds: [Decoder.Edit.Kind] = [.write, .insert, .insert, .insert, .delete]
        #expect(decoder.proposal?.map(\.kind) == kinds)
        let before = Array(decoder.canvas)
        try decoder.apply()
        #expect(Array(decoder.canvas) == [1, 4, 9, 10, 11, 2, mask, mask])
        #expect(follow(before, decoder.events) == Array(decoder.canvas))
        #expect(Array(decoder.stepMap) == [0, 2, 2, 2, 2, 1, 0, 0])
        try decoder.forward()
        expectRefusal(.invalidArgument, ["position 2 is there twice"]) {
            try decoder.setProposal([.init(position: 2, token: 0, kind: .delete), .init(position: 2, token: 3)])
        }
        expectRefusal(.invalidArgument, ["17 edits"]) {
            try decoder.setProposal((0..<17).map { _ in .init(position: 3, token: 9, kind: .insert) })
        }
        // What stands behind the end of the block is lost, whatever it is.
        try decoder.setProposal((0..<9).map { .init(position: 1, token: $0, kind: .insert) })
        try decoder.apply()
        #expect(Array(decoder.canvas) == [1, 0, 1, 2, 3, 4, 5, 6])
    }

    @Test func finishedBlocksThatAreEditedDoNotMove() throws {
        let decoder = try decoder([1, 1, 1, 1], 8, blockLength: 4, .qualityMBE) { _, _ in (3, 0.9) }
        while !decoder.isEditingBlocks { try decoder.step() }
        try decoder.forward()
        for kind in [Decoder.Edit.Kind.delete, .insert] {
            expectRefusal(.invalidArgument, ["position 5 cannot move"]) {
                try decoder.setProposal([.init(position: 5, token: 2, kind: kind)])
            }
        }
    }

    // MARK: The policy

    /// Masks that are predicted to stay masks: the step that would be repeated for ever predicts something else.
    @Test(arguments: [Policy.Variant.reference, .indel]) func aModelThatPredictsOnlyTheMaskEnds(
        _ variant: Policy.Variant
    ) throws {
        var policy = Policy.levenshtein
        policy.variant = variant
        let decoder = try decoder([1], 15, policy) { _, _ in (mask, 0.9) }
        try decoder.run()
        #expect(!decoder.canvas.contains(mask) && decoder.finishReason == .length)
    }

    /// A mask is put in before the same token again and again; the cap fills what is left.
    @Test func theCapLeavesNoMasks() throws {
        var policy = Policy.levenshtein
        (policy.maxStepsPerBlock, policy.maxPostSteps) = (5, 100)
        // Masks stay masks until the end, and every token wants one before it.
        let decoder = try decoder([1], 7, policy) { tokens, position in
            position == 1 ? (2, 0.9) : tokens[position] == mask ? (split, 0.8) : (2, 0.9)
        }
        try decoder.run()
        #expect(!decoder.canvas.contains(mask) && !decoder.canvas[1...].contains(split))
        #expect(decoder.forwards == 6)
    }

    /// Tokens of the prompt that look like edits are none, and no prediction touches the prompt.
    @Test(arguments: [Policy.Variant.reference, .indel]) func thePromptIsLeftAlone(_ variant: Policy.Variant) throws {
        var policy = Policy.levenshtein
        policy.variant = variant
        let prompt = [delete, split, 3]
        let decoder = try decoder(prompt, 5, policy) { _, position in position < 3 ? (delete, 0.9) : (4, 0.9) }
        try decoder.run()
        #expect(Array(decoder.canvas) == prompt + [4, 4, 4, 4, 4])
        #expect(decoder.deletions == 0)
    }

    /// A word is forgotten, then put in: SPLIT before it, and what fills the mask.
    @Test func aForgottenWordIsPutIn() throws {
        var policy = Policy.levenshtein
        policy.editingThreshold = 0.5
        let decoder = try decoder([1], 7, early: true, policy) { tokens, position in
            let draft: [Int32] = [1, 2, 3, 5, 6, end, end, end]
            if tokens[3] == mask, tokens[4] == 5 { return position == 3 ? (4, 0.9) : (tokens[position], 0.9) }
            if tokens[3] == 5 { return position == 3 ? (split, 0.9) : (tokens[position], 0.9) }
            return tokens[position] == mask ? (draft[position], 0.9) : (tokens[position], 0.9)
        }
        var kinds: [[Decoder.Event.Kind]] = []
        while !decoder.isFinished {
            try decoder.step()
            kinds.append(Array(Set(decoder.events.map(\.kind))))
        }
        #expect(decoder.output == [2, 3, 4, 5, 6, end])
        #expect(kinds == [[.unmask], [.insert], [.unmask], []])
        #expect(decoder.stepMap[1...6].map { $0 } == [1, 1, 3, 1, 1, 1])
        #expect(decoder.insertions == 1 && decoder.deletions == 0 && decoder.edits == 0)
    }

    /// With a temperature masks are drawn, tokens are not, and confidences are those without temperature.
    @Test func onlyMasksAreDrawn() throws {
        var policy = Policy.levenshtein
        policy.temperature = 50
        let decoder = try decoder([1, 2, 3], 29, blockLength: 32, policy) { _, position in (5, 0.99) }
        try decoder.forward()
        let predictions = try #require(try decoder.predictions)
        #expect(predictions.tokens[..<3].allSatisfy { $0 == 5 })
        #expect(Set(predictions.tokens[3...]).count > 5)
        for (token, confidence) in zip(predictions.tokens, predictions.confidences) {
            #expect(abs(confidence - (token == 5 ? 0.99 : 0.01 / 15)) < 1e-5)
        }
    }

    // MARK: Which policy, and which ids

    private func model(_ change: (inout Model.Options) -> Void = { _ in }) throws -> Model {
        var options = Model.Options()
        (options.maskTokenID, options.eosTokenIDs, options.threads) = (127, [126, 125], 1)
        change(&options)
        return try Model(path: Fixture.folder(Run.edits), options: options)
    }

    @Test func aModelWithTheIdsPicksThePolicy() throws {
        let model = try model()
        #expect(model.deleteTokenID == 120 && model.splitTokenID == 121 && model.eosTokenIDs == [126, 125])
        var options = Decoder.Options()
        options.blockLength = 8
        #expect(try model.decoder(prompt: [1], options: options).options.policy == .levenshtein)
        options.policy = .speedy
        #expect(try model.decoder(prompt: [1], options: options).options.policy == .speedy)
        var plain = Model.Options()
        plain.maskTokenID = 127
        let other = try Model(path: Fixture.folder("gqa_group"), options: plain)
        options.policy = nil
        #expect(try other.decoder(prompt: [1], options: options).options.policy == .quality)
        var window = Policy.levenshtein
        window.mbeWindow = 2
        options.policy = window
        expectRefusal(.invalidArgument, ["mbe_window is 2"]) { _ = try model.decoder(prompt: [1], options: options) }
        options.policy = .levenshtein
        expectRefusal(.specialToken, ["delete_token_id and split_token_id"]) {
            _ = try other.decoder(prompt: [1], options: options)
        }
    }

    @Test func idsWithTwoMeaningsAreRefused() throws {
        #expect(try model { $0.deleteTokenID = 3 }.deleteTokenID == 3)
        typealias Change = (inout Model.Options) -> Void
        let given: [([String], Change)] = [
            (["delete_token_id is 127", "mask"], { $0.deleteTokenID = 127 }),
            (["split_token_id is 125", "ends no sequence"], { $0.splitTokenID = 125 }),
            (
                ["split_token_id is 7", "another id than delete_token_id"],
                { ($0.deleteTokenID, $0.splitTokenID) = (7, 7) }
            ),
            (["delete_token_id is 128", "0 to 127"], { $0.deleteTokenID = 128 }),
            (["split_token_id is -1", "0 to 127"], { $0.splitTokenID = -1 }),
        ]
        for (parts, change) in given { expectRefusal(.invalidArgument, parts) { _ = try model(change) } }
        expectRefusal(.config, ["config.json", "delete_token_id", "120", "mask"]) {
            _ = try model { $0.maskTokenID = 120 }
        }
        expectRefusal(.config, ["config.json", "split_token_id", "121", "ends no sequence"]) {
            _ = try model { $0.eosTokenIDs = [121] }
        }
    }
}

/// Routing blocks are aligned positions of one sequence, whatever else is in a forward.
@Suite struct BlockRoutingTests {
    private func model(threads: Int = 1) throws -> Model {
        var options = Model.Options()
        (options.maskTokenID, options.eosTokenIDs, options.threads) = (127, [126], threads)
        return try Model(path: Fixture.folder(Run.edits), options: options)
    }

    private func decoder(
        _ model: Model, _ prompt: [Int32], _ cache: PrefixCache? = nil, blockLength: Int = 8
    ) throws -> Decoder {
        var options = Decoder.Options()
        (options.blockLength, options.genLength, options.prefixCache) = (blockLength, 24, cache)
        return try model.decoder(prompt: prompt, options: options)
    }

    /// The logits of the active block, by a decoder, bit for bit those of the whole sequence at once.
    private func check(_ model: Model, _ decoder: Decoder) throws {
        let canvas = Array(decoder.canvas[..<decoder.active.upperBound])
        let whole = try logits(model, canvas, blockLength: decoder.blockLength)
        let size = model.config.vocabSize
        for position in decoder.active {
            let row = whole[position * size..<(position + 1) * size]
            #expect(try decoder.logits(at: position).map(\.bitPattern) == row.map(\.bitPattern), "\(position)")
        }
    }

    /// Prompts longer than a forward, alone, in a batch, from a prefix cache, and forked in the midst of a step.
    @Test(arguments: [8, 16]) func prefillsBatchesCachesAndForksKeepBlocksWhole(_ blockLength: Int) throws {
        let model = try model(threads: 2)
        var dice = SeededGenerator(state: 7)
        let long = (0..<1100).map { _ in Int32.random(in: 0..<100, using: &dice) }
        let cache = try model.prefixCache(maxBytes: 1 << 26)
        let lengths = [3, 517, 1030, 1100]
        for length in lengths {
            let decoder = try decoder(model, Array(long[..<length]), cache, blockLength: blockLength)
            try decoder.forward()
            try check(model, decoder)
            #expect(length < 1000 || decoder.reusedPositions > 0)
        }
        let several = try lengths.map { try decoder(model, Array(long[..<$0]), blockLength: blockLength) }
        for _ in 0..<3 {
            try DecoderBatch.forward(several)
            for decoder in several {
                try check(model, decoder)
                let fork = try decoder.fork()
                try fork.forward()
                try check(model, fork)
                try decoder.step()
            }
        }
    }

    /// A last block that is shorter than a routing block has a pool of its own: as long as it is, as SGLang has it.
    @Test func aShortLastBlockIsRoutedAlone() throws {
        let model = try model()
        let ids = (0..<21).map { Int32($0 * 5 % 100) }
        let short = try logits(model, ids, blockLength: 8)
        // What stands before it does not depend on it.
        let size = model.config.vocabSize
        let whole = try logits(model, Array(ids[..<16]), blockLength: 8)
        #expect(Array(short[..<(16 * size)]) == whole)
        let sound = short.allSatisfy { $0.isFinite }
        #expect(sound)
    }
}
