import LLaDA
import Testing

@Suite struct MultiBlockEditingTests {
    /// Block 0 is drafted as 3s; only a window that sees block 1 knows better at position 2.
    private func script() throws -> Script {
        try Script(vocabSize: 16) { tokens, position, asOneBlock in
            asOneBlock && position == 2 && tokens.count > 4 ? (9, 0.9) : (tokens[position] == 9 ? 9 : 3, 0.9)
        }
    }

    private func policy(rounds: Int) -> Policy {
        var policy = Policy.speedy
        policy.mbeWindow = 2
        policy.mbeRounds = rounds
        return policy
    }

    @Test func aFinishedBlockIsRevised() throws {
        let script = try script()
        let decoder = try decoder(script, genLength: 7, policy(rounds: 3))
        var blockEdits: [Decoder.Event] = []
        while let events = try decoder.next() {
            blockEdits += events.filter { $0.reason == .blockEdit }
            if !decoder.isFinished, decoder.active.upperBound <= 4 { #expect(decoder.settledLength == 0) }
        }
        #expect(Array(decoder.canvas) == [1, 3, 9, 3, 3, 3, 3, 3])
        #expect(blockEdits.map(\.position) == [2])
        // Block 0 alone is not looked at again. Then both: one edit, and one round that finds nothing.
        #expect(script.windows == [0..<8, 0..<8])
        // Two forwards for each block's own loop, two for the window.
        #expect(decoder.forwards == 6)
        #expect(decoder.settledLength == 8)
    }

    @Test func oneRoundIsOneForward() throws {
        let script = try script()
        let decoder = try decoder(script, genLength: 7, policy(rounds: 1))
        try decoder.run()
        #expect(script.windows == [0..<8])
        #expect(decoder.forwards == 5)
    }

    @Test func aWindowSettlesWhatLeavesIt() throws {
        let decoder = try decoder(script(), genLength: 11, policy(rounds: 1))
        try decoder.runBlock()
        #expect(decoder.settledLength == 0)
        try decoder.runBlock()
        #expect(decoder.settledLength == 4)
        #expect(decoder.output == [3, 9, 3])
        try decoder.runBlock()
        #expect(decoder.settledLength == 12 && decoder.isFinished)
    }

    /// Block 1 is drafted with the end of the sequence, which the window leaves or edits away.
    @Test(arguments: [true, false]) func noBlockFollowsTheEnd(_ endStays: Bool) throws {
        let script = try Script(vocabSize: 16) { tokens, position, asOneBlock in
            if asOneBlock && !endStays && tokens.count == 8 { return (3, 0.9) }
            return position == 6 ? (tokens[position] == 3 ? 3 : end, 0.9) : (3, 0.9)
        }
        let decoder = try decoder(script, genLength: 15, early: true, policy(rounds: 1))
        try decoder.run()
        #expect(script.windows.last == (endStays ? 0..<8 : 8..<16))
        #expect(decoder.settledLength == (endStays ? 8 : 16) && decoder.finishReason == (endStays ? .eos : .length))
        #expect(decoder.output.count == (endStays ? 6 : 15))
    }

    @Test func theTwoPoliciesAgreeOnWhoMayEdit() {
        var policy = Policy.lowConfidence
        policy.mbeWindow = 2
        #expect(throws: LLaDAError.self) { try decoder(script(), policy) }
    }
}
