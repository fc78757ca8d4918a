import LLaDA
import TestSupport
import Testing

/// Keys and values that a sequence has kept, shared or forked give the logits that a sequence of its own gives, to the
/// bit.
@Suite struct CachedSequenceTests {
    private static let blockLength = 8
    private static let vocab = 100

    private func model(_ keyValues: NumberFormat? = nil) throws -> Model {
        try Run.all("gqa_group")[0].model(threads: 2, kvDType: keyValues)
    }

    private func tokens(_ count: Int, _ seed: Int = 1) -> [Int32] {
        (0..<count).map { Int32(($0 * 7 + $0 / 5 * seed) % Self.vocab) }
    }

    /// [rows, vocab] of a forward over tokens[active], as bits.
    private func logits(
        _ sequence: CachedSequence, _ tokens: [Int32], _ active: Range<Int>, asOneBlock: Bool = false
    ) throws -> [UInt32] {
        try tokens.withUnsafeBufferPointer {
            try sequence.prepare($0, active: active, asOneBlock: asOneBlock).run()
        }
        let states = try #require(sequence.states)
        var out = [Float](repeating: .nan, count: states.count * states.vocabSize)
        out.withUnsafeMutableBufferPointer { out in
            if let base = out.baseAddress {
                states.logits(0..<states.count, 0..<states.vocabSize, into: base, stride: states.vocabSize)
            }
        }
        return out.map(\.bitPattern)
    }

    /// The same with nothing kept.
    private func anew(
        _ model: Model, _ tokens: [Int32], _ active: Range<Int>, asOneBlock: Bool = false
    ) throws -> [UInt32] {
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        return try logits(sequence, tokens, active, asOneBlock: asOneBlock)
    }

    @Test func onlyWhatIsMissingIsComputed() throws {
        let model = try model()
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        var tokens = tokens(40)
        // All of the prompt, and the active block.
        #expect(try logits(sequence, tokens, 24..<32) == anew(model, tokens, 24..<32))
        #expect(sequence.computedPositions == 32)
        // The active block again, with another token in it.
        tokens[27] += 1
        #expect(try logits(sequence, tokens, 24..<32) == anew(model, tokens, 24..<32))
        #expect(sequence.computedPositions == 40)
        // The next one: the last forward had the final tokens of the one before.
        #expect(try logits(sequence, tokens, 32..<40) == anew(model, tokens, 32..<40))
        #expect(sequence.computedPositions == 48)
        // A token of the second block is another one: it and all blocks behind it are missing.
        tokens[9] += 1
        #expect(try logits(sequence, tokens, 32..<40) == anew(model, tokens, 32..<40))
        #expect(sequence.computedPositions == 48 + 32)
    }

    @Test func aBlockWhoseLastForwardWasStaleRidesAlong() throws {
        let model = try model()
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        var tokens = tokens(24)
        _ = try logits(sequence, tokens, 8..<16)
        tokens[10] += 1  // an edit, after the last forward over the block
        #expect(try logits(sequence, tokens, 16..<24) == anew(model, tokens, 16..<24))
        #expect(sequence.computedPositions == 16 + 16)
    }

    @Test func aWindowLeavesThePagesOfItsBlocksAlone() throws {
        let model = try model()
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        let tokens = tokens(32)
        _ = try logits(sequence, tokens, 24..<32)
        #expect(
            try logits(sequence, tokens, 16..<32, asOneBlock: true) == anew(model, tokens, 16..<32, asOneBlock: true))
        let before = sequence.computedPositions
        #expect(try logits(sequence, tokens, 24..<32) == anew(model, tokens, 24..<32))
        #expect(sequence.computedPositions == before + 8)
    }

    /// Pages are shared until one of the two writes.
    @Test func aForkAndItsOriginDoNotMeet() throws {
        let model = try model()
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        let tokens = tokens(32)
        _ = try logits(sequence, tokens, 24..<32)
        let fork = sequence.fork()
        var others = tokens
        others[12] += 1
        #expect(try logits(fork, others, 24..<32) == anew(model, others, 24..<32))
        #expect(fork.computedPositions == 24)  // from the block of the change on
        #expect(try logits(sequence, tokens, 24..<32) == anew(model, tokens, 24..<32))
        #expect(sequence.computedPositions == 40)
    }

    @Test func whatIsForgottenIsComputedAgain() throws {
        let model = try model()
        let sequence = CachedSequence(model.transformer, blockLength: Self.blockLength)
        let tokens = tokens(32)
        let first = try logits(sequence, tokens, 24..<32)
        sequence.reset()
        #expect(try logits(sequence, tokens, 24..<32) == first)
        #expect(sequence.computedPositions == 64)
    }

    /// Any order of edits, forks and forwards, over keys and values of either format, with and without a prefix cache.
    @Test(arguments: 0..<12) func nothingOfItShows(_ seed: Int) throws {
        var dice = SeededGenerator(state: UInt64(seed))
        let model = try model(seed % 2 == 0 ? .f32 : .bf16)
        let cache = seed % 3 == 0 ? nil : try PrefixCache(model.transformer, maxBytes: 1 << 22)
        func fresh() -> CachedSequence {
            CachedSequence(model.transformer, blockLength: Self.blockLength, cache: cache)
        }
        var all = [(sequence: fresh(), tokens: tokens(48, seed))]
        for _ in 0..<60 {
            let index = Int.random(in: 0..<all.count, using: &dice)
            switch Int.random(in: 0..<8, using: &dice) {
            case 0 where all.count < 4: all.append((all[index].sequence.fork(), all[index].tokens))
            case 1 where all.count < 4: all.append((fresh(), all[index].tokens))
            case 2 where all.count > 1: all.remove(at: index)
            case 3: cache?.clear()
            default:
                let position = Int.random(in: 0..<48, using: &dice)
                all[index].tokens[position] = Int32.random(in: 0..<Int32(Self.vocab), using: &dice)
                let block = Int.random(in: 0..<6, using: &dice)
                let window = Int.random(in: 1...2, using: &dice)
                let active = 8 * block..<min(48, 8 * (block + window))
                let (sequence, tokens) = all[index]
                let ours = try logits(sequence, tokens, active, asOneBlock: window == 2)
                try #require(try ours == anew(model, tokens, active, asOneBlock: window == 2), "\(seed)")
                if Bool.random(using: &dice) {
                    tokens.withUnsafeBufferPointer { sequence.share($0, upTo: active.lowerBound) }
                }
            }
        }
        if let statistics = cache?.statistics { #expect(statistics.bytes <= statistics.maxBytes) }
    }

    @Test func sharedPagesAreNotComputed() throws {
        let model = try model()
        let cache = try PrefixCache(model.transformer, maxBytes: 1 << 22)
        let tokens = tokens(40)
        let first = CachedSequence(model.transformer, blockLength: Self.blockLength, cache: cache)
        _ = try logits(first, tokens, 32..<40)
        tokens.withUnsafeBufferPointer { first.share($0, upTo: 32) }
        #expect(cache.statistics.blocks == 4)
        let second = CachedSequence(model.transformer, blockLength: Self.blockLength, cache: cache)
        #expect(try logits(second, tokens, 32..<40) == anew(model, tokens, 32..<40))
        #expect(second.reusedPositions == 32 && second.computedPositions == 8)
        // One that writes to a block that is shared gets a page of its own: the cache keeps what it has.
        var others = tokens
        others[17] += 1
        #expect(try logits(second, others, 16..<24) == anew(model, others, 16..<24))
        let third = CachedSequence(model.transformer, blockLength: Self.blockLength, cache: cache)
        #expect(try logits(third, tokens, 32..<40) == anew(model, tokens, 32..<40))
        #expect(third.reusedPositions == 32)
    }
}
