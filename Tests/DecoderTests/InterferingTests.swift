import LLaDA
import Testing

@Suite struct InterferingTests {
    private func plain() throws -> Decoder {
        try decoder(try Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }, .quality)
    }

    @Test func theHostsProposalIsWhatIsWritten() throws {
        let decoder = try plain()
        try decoder.forward()
        try decoder.setProposal([.init(position: 2, token: 11)])
        #expect(decoder.proposal?.map(\.token) == [11])
        try decoder.apply()
        #expect(Array(decoder.canvas[..<4]) == [1, mask, 11, mask])
        #expect(decoder.events.map(\.reason) == [.host])
        #expect(decoder.states[2] == Decoder.PositionState.draft.rawValue)
    }

    @Test func lockedPositionsStay() throws {
        let decoder = try plain()
        try decoder.setToken(at: 1, to: 12)
        try decoder.lock(at: 1, true)
        try decoder.lock(at: 3, true)
        try decoder.run()
        #expect(decoder.canvas[1] == 12)
        #expect(decoder.canvas[3] == mask)
        #expect(decoder.canvas[2] == 2)
    }

    @Test func bannedTokensAreNeverPredicted() throws {
        let decoder = try plain()
        try decoder.ban(2, at: nil, true)
        try decoder.forward()
        try decoder.ban(3, at: 3, true)
        let predicted = Array(try #require(try decoder.predictions).tokens)
        #expect(predicted[2] != 2 && predicted[3] != 3 && predicted[1] == 1)
        #expect(
            try decoder.candidates(at: 3, count: 16).map(\.token).sorted() == [
                0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            ])
        try decoder.ban(3, at: 3, false)
        #expect(try #require(try decoder.predictions).tokens[3] == 3)
        try decoder.run()
        #expect(!decoder.output.contains(2))
    }

    @Test func aLockHoldsAgainstAProposalAtHand() throws {
        let decoder = try plain()
        try decoder.forward()
        try decoder.propose()
        try decoder.setToken(at: 1, to: 12)
        try decoder.lock(at: 1, true)
        try decoder.apply()
        #expect(Array(decoder.canvas[..<4]) == [1, 12, 2, 3])
    }

    @Test func notEverythingCanBeBanned() throws {
        let decoder = try plain()
        for token in 0..<14 { try decoder.ban(Int32(token), at: nil, true) }
        #expect(throws: LLaDAError.self) { try decoder.ban(end, at: nil, true) }
        #expect(throws: LLaDAError.self) { try decoder.ban(end, at: 2, true) }
        try decoder.run()
        #expect(decoder.output == [Int32](repeating: end, count: 1))
    }

    @Test func aMaskedDraftIsFilledAgain() throws {
        var policy = Policy.quality
        policy.threshold = 0.95  // one token a step
        let decoder = try decoder(try Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }, policy)
        try decoder.step()
        #expect(decoder.canvas[1] == 1)
        try decoder.mask(at: 1)
        #expect(decoder.canvas[1] == mask)
        try decoder.step()
        #expect(decoder.events.map(\.kind) == [.remask, .unmask])
        try decoder.run()
        #expect(!decoder.canvas.contains(mask))
    }

    @Test func whatWouldBreakTheCanvasIsRefused() throws {
        let decoder = try plain()
        func status(_ body: () throws -> Void) -> Status? {
            do { try body() } catch let error as LLaDAError { return error.status } catch { return nil }
            return .ok
        }
        #expect(status { try decoder.propose() } == .state)
        #expect(status { try decoder.apply() } == .state)
        #expect(status { try decoder.setProposal([]) } == .state)
        #expect(status { _ = try decoder.logits(at: 1) } == .state)
        #expect(status { try decoder.setToken(at: 1, to: 16) } == .invalidArgument)
        #expect(status { try decoder.setToken(at: 1, to: -1) } == .invalidArgument)
        #expect(status { try decoder.setToken(at: 8, to: 3) } == .invalidArgument)
        #expect(status { try decoder.setToken(at: -1, to: 3) } == .invalidArgument)
        #expect(status { try decoder.setToken(at: 1, to: mask) } == .specialToken)
        #expect(status { try decoder.mask(at: 0) } == .invalidArgument)
        #expect(status { try decoder.ban(99, at: nil, true) } == .invalidArgument)
        try decoder.forward()
        for (position, token) in [(0, 3), (4, 3), (-1, 3), (1, 99)] as [(Int, Int32)] {
            #expect(status { try decoder.setProposal([.init(position: position, token: token)]) } == .invalidArgument)
        }
        #expect(
            status { try decoder.setProposal([.init(position: 1, token: 3), .init(position: 1, token: 4)]) }
                == .invalidArgument)
        #expect(status { _ = try decoder.logits(at: 4) } == .invalidArgument)
        try decoder.run()
        #expect(status { try decoder.step() } == .state)
        #expect(status { try decoder.setToken(at: 1, to: 3) } == .state)
    }

    @Test func aMaskInThePromptIsInfillingOrRefused() throws {
        let script = try Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }
        #expect(throws: LLaDAError.self) { try decoder(script, prompt: [1, mask, 2], .quality) }
        let filled = try decoder(
            script, prompt: [9, mask, 9, 9, 9, 9, 9, 9, mask, 9, 9, 9], genLength: 0, infill: true, .quality)
        #expect(filled.active == 0..<4)
        try filled.run()
        #expect(Array(filled.canvas) == [9, 1, 9, 9, 9, 9, 9, 9, 0, 9, 9, 9])
        #expect(filled.output.isEmpty)
    }

    @Test func cancellingLeavesTheStepToBeDoneAgain() throws {
        let decoder = try plain()
        let twin = try plain()
        try decoder.step()
        decoder.cancellation.cancel()
        #expect(throws: LLaDAError(.cancelled, "cancelled by the host")) { try decoder.step() }
        try decoder.run()
        try twin.run()
        #expect(decoder.output == twin.output && decoder.forwards == twin.forwards)
    }

    /// A ban makes predictions anew, but is no forward: the request is there for the next one.
    @Test func cancellingWaitsForAForward() throws {
        let decoder = try plain()
        try decoder.forward()
        decoder.cancellation.cancel()
        try decoder.ban(2, at: nil, true)
        #expect(try #require(try decoder.predictions).tokens[2] != 2)
        try decoder.propose()
        try decoder.apply()
        #expect(throws: LLaDAError(.cancelled, "cancelled by the host")) { try decoder.run() }
    }
}
