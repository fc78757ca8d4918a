import Foundation
import Kernels
import LLaDA
import Testing

/// A model that follows a script: logits as a function of the canvas.
final class Script: Denoiser {
    let vocabSize: Int
    /// (tokens up to the end of the active positions, position, is the window one block) to the token it would write and
    /// the probability it gives it.
    private let answer: ([Int32], Int, Bool) -> (token: Int32, probability: Double)
    private(set) var windows: [Range<Int>] = []
    private var rows: [[Float]] = []

    init(vocabSize: Int, _ answer: @escaping ([Int32], Int, Bool) -> (Int32, Double)) {
        self.vocabSize = vocabSize
        self.answer = answer
    }

    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) throws(LLaDAError) -> Int {
        if asOneBlock { windows.append(active) }
        let seen = Array(tokens[..<active.upperBound])
        rows = active.map { position in
            let (token, probability) = answer(seen, position, asOneBlock)
            let rest = log((1 - probability) / Double(vocabSize - 1))
            return (0..<vocabSize).map { Float($0 == Int(token) ? log(probability) : rest) }
        }
        return 0
    }

    func logits(_ range: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        copy(Array(rows[range]), vocabulary, out, stride)
    }

    let computedPositions = 0
    let reusedPositions = 0
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int) {}
    func reset() {}
    func fork(_ cancellation: Cancellation) -> any Denoiser { self }
}

private func copy(_ rows: [[Float]], _ vocabulary: Range<Int>, _ out: UnsafeMutablePointer<Float>, _ stride: Int) {
    for (index, row) in rows.enumerated() {
        for (column, id) in vocabulary.enumerated() { out[index * stride + column] = row[id] }
    }
}

private let mask: Int32 = 15
private let end: Int32 = 14

private func decoder(
    _ script: Script, prompt: [Int32] = [1], blockLength: Int = 4, genLength: Int = 7, early: Bool = false,
    infill: Bool = false, _ policy: Policy
) throws -> Decoder {
    var options = Decoder.Options()
    options.blockLength = blockLength
    options.genLength = genLength
    options.eosEarlyStop = early
    options.infill = infill
    options.policy = policy
    return try Decoder(
        script, compute: Compute(team: ThreadTeam(threads: 1)), maskID: mask, eosIDs: [end], prompt: prompt,
        options: options)
}

/// The step vectors of other engines that are in our policies: one step of SGLang's JointThreshold on given logits.
private struct Units: Decodable {
    struct Step: Decodable {
        let logits: [[Float]]
        let x: [Int32]
        let plain: [Int32]
        let penalised: [Int32]

        enum CodingKeys: String, CodingKey {
            case logits, x
            case plain = "sglang_joint_step_thr.6_edit.4_lam0.0"
            case penalised = "sglang_joint_step_thr.6_edit.4_lam1.5"
        }
    }
    let steps: [Step]
}

final class Fixed: Denoiser {
    let vocabSize: Int
    let rows: [[Float]]
    init(_ rows: [[Float]]) {
        self.rows = rows
        vocabSize = rows[0].count
    }
    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) -> Int { 0 }
    func logits(_ range: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        copy(Array(rows[range]), vocabulary, out, stride)
    }
    let computedPositions = 0
    let reusedPositions = 0
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int) {}
    func reset() {}
    func fork(_ cancellation: Cancellation) -> any Denoiser { self }
}

@Suite struct ScriptedSteps {
    @Test(arguments: [false, true]) func oneJointStepIsSGLangs(_ penalised: Bool) throws {
        let data = try Data(contentsOf: Run.root.appending(path: "units.json"))
        let steps = try JSONDecoder().decode(Units.self, from: data).steps
        #expect(steps.count == 12)
        for step in steps {
            var policy = Policy(.jointThreshold)
            (policy.threshold, policy.editingThreshold) = (0.6, 0.4)
            policy.penaltyLambda = penalised ? 1.5 : 0
            var options = Decoder.Options()
            options.blockLength = step.x.count
            options.genLength = step.x.count
            options.policy = policy
            let decoder = try Decoder(
                Fixed(step.logits), compute: Compute(team: ThreadTeam(threads: 1)), maskID: mask, eosIDs: [],
                prompt: [],
                options: options)
            for (position, token) in step.x.enumerated() where token != mask {
                try decoder.setToken(token, at: position)
            }
            try decoder.step()
            #expect(Array(decoder.canvas) == (penalised ? step.penalised : step.plain))
        }
    }

    @Test func aModelThatPredictsOnlyTheMaskEndsAllTheSame() throws {
        let script = Script(vocabSize: 16) { _, _, _ in (mask, 0.9) }
        let decoder = try decoder(script, .speedy)
        try decoder.run()
        #expect(!decoder.canvas.contains(mask))
        #expect(decoder.finishReason == .length)
    }

    /// Fills position 2 when it is masked and masks it again when it is not, while another mask keeps the block open.
    @Test func aCycleThroughTheMaskEnds() throws {
        let script = Script(vocabSize: 16) { tokens, position, _ in
            switch position {
            case 2: tokens[2] == mask ? (5, 0.9) : (mask, 0.9)
            case 3: (mask, 0.9)
            default: (7, 0.9)
            }
        }
        let decoder = try decoder(script, genLength: 3, .speedy)
        var steps = 0
        while !decoder.isFinished, steps < 200 {
            try decoder.step()
            steps += 1
        }
        #expect(decoder.isFinished)
        #expect(!decoder.canvas.contains(mask))
    }

    /// The block is full each time round, so every round costs one step of the budget, and the reference ends by itself.
    @Test func aCycleThroughAFullBlockIsTheReferences() throws {
        let script = Script(vocabSize: 16) { tokens, position, _ in
            position == 3 ? (tokens[3] == mask ? (5, 0.9) : (mask, 0.9)) : (7, 0.9)
        }
        var policy = Policy.speedy
        policy.maxPostSteps = 3
        let decoder = try decoder(script, genLength: 3, policy)
        try decoder.run()
        // Fill; then three times over: an edit to the mask, with nothing masked, and a step that fills it again.
        #expect(decoder.forwards == 7)
        #expect(Array(decoder.canvas) == [1, 7, 7, 5])
    }

    @Test func lowestPositionWinsTies() throws {
        let script = Script(vocabSize: 16) { _, _, _ in (3, 0.5) }
        let decoder = try decoder(script, .lowConfidence)
        try decoder.step()
        #expect(decoder.events.map(\.position) == [1])
        #expect(decoder.events[0].reason == .fallback && decoder.events[0].kind == .unmask)
    }

    @Test func editsAreEventsWithReasons() throws {
        // Drafts 3 everywhere; sees 4 once nothing is masked.
        let script = Script(vocabSize: 16) { tokens, _, _ in tokens.contains(mask) ? (3, 0.8) : (4, 0.8) }
        let decoder = try decoder(script, genLength: 3, .quality)
        try decoder.step()
        #expect(decoder.events.map(\.kind) == [.unmask, .unmask, .unmask])
        #expect(decoder.events.allSatisfy { $0.reason == .threshold && abs($0.confidence - 0.8) < 1e-6 })
        try decoder.step()
        #expect(decoder.events.map(\.kind) == [.replace, .replace, .replace])
        #expect(decoder.events.allSatisfy { $0.reason == .postEdit && $0.oldToken == 3 && $0.newToken == 4 })
        try decoder.step()
        #expect(decoder.events.isEmpty && decoder.isFinished)
        #expect(decoder.edits == 3 && decoder.forwards == 3)
        #expect(Array(decoder.canvas) == [1, 4, 4, 4])
    }

    @Test func endOfSequenceStopsAndCuts() throws {
        // Block 0 holds positions 1 to 3; the end comes at 2.
        let script = Script(vocabSize: 16) { _, position, _ in position == 2 ? (end, 0.99) : (3, 0.99) }
        let early = try decoder(script, early: true, .quality)
        try early.run()
        #expect(early.output == [3, end] && early.finishReason == .eos)
        #expect(early.canvas[4...].allSatisfy { $0 == mask })
        let late = try decoder(script, early: false, .quality)
        try late.run()
        #expect(late.output == [3, end] && late.finishReason == .eos)
        #expect(!late.canvas.contains(mask))
        #expect(late.forwards > early.forwards)
    }

    @Test func anEndInThePromptIsNoEnd() throws {
        let script = Script(vocabSize: 16) { _, _, _ in (3, 0.99) }
        for policy in [Policy.lowConfidence, .speedy] {
            let decoder = try decoder(script, prompt: [end, 1], genLength: 4, early: true, policy)
            try decoder.run()
            #expect(decoder.output == [3, 3, 3, 3])
        }
    }
}

@Suite struct MultipleBlockEditing {
    /// Block 0 is drafted as 3s; only a window that sees block 1 knows better at position 2.
    private func script() -> Script {
        Script(vocabSize: 16) { tokens, position, asOneBlock in
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
        let script = script()
        let decoder = try decoder(script, genLength: 7, policy(rounds: 3))
        var blockEdits: [Decoder.Event] = []
        while let events = try decoder.next() {
            blockEdits += events.filter { $0.reason == .blockEdit }
            if !decoder.isFinished, decoder.active.upperBound <= 4 { #expect(decoder.settledLength == 0) }
        }
        #expect(Array(decoder.canvas) == [1, 3, 9, 3, 3, 3, 3, 3])
        #expect(blockEdits.map(\.position) == [2])
        // Block 0 alone is no window. Then both: one edit, and one round that finds nothing.
        #expect(script.windows == [0..<8, 0..<8])
        // Two forwards for each block's own loop, three for the windows.
        #expect(decoder.forwards == 7)
        #expect(decoder.settledLength == 8)
    }

    @Test func oneRoundIsOneForward() throws {
        let script = script()
        let decoder = try decoder(script, genLength: 7, policy(rounds: 1))
        try decoder.run()
        #expect(script.windows == [0..<8])
        #expect(decoder.forwards == 6)
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

    @Test func theTwoPoliciesAgreeOnWhoMayEdit() {
        var policy = Policy.lowConfidence
        policy.mbeWindow = 2
        #expect(throws: LLaDAError.self) { try decoder(script(), policy) }
    }
}

@Suite struct Interference {
    private func plain() throws -> Decoder {
        try decoder(Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }, .quality)
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
        try decoder.setToken(12, at: 1)
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
        let predicted = Array(try #require(decoder.predictions).tokens)
        #expect(predicted[2] != 2 && predicted[3] != 3 && predicted[1] == 1)
        #expect(
            try decoder.candidates(at: 3, count: 16).map(\.token).sorted() == [
                0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
            ])
        try decoder.ban(3, at: 3, false)
        #expect(try #require(decoder.predictions).tokens[3] == 3)
        try decoder.run()
        #expect(!decoder.output.contains(2))
    }

    @Test func aLockHoldsAgainstAProposalAtHand() throws {
        let decoder = try plain()
        try decoder.forward()
        try decoder.propose()
        try decoder.setToken(12, at: 1)
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
        let decoder = try decoder(Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }, policy)
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
        #expect(status { try decoder.setToken(16, at: 1) } == .invalidArgument)
        #expect(status { try decoder.setToken(-1, at: 1) } == .invalidArgument)
        #expect(status { try decoder.setToken(3, at: 8) } == .invalidArgument)
        #expect(status { try decoder.setToken(3, at: -1) } == .invalidArgument)
        #expect(status { try decoder.setToken(mask, at: 1) } == .specialToken)
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
        #expect(status { try decoder.setToken(3, at: 1) } == .state)
    }

    @Test func aMaskInThePromptIsInfillingOrRefused() throws {
        let script = Script(vocabSize: 16) { _, position, _ in (Int32(position % 8), 0.9) }
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
        #expect(try #require(decoder.predictions).tokens[2] != 2)
        try decoder.propose()
        try decoder.apply()
        #expect(throws: LLaDAError(.cancelled, "cancelled by the host")) { try decoder.run() }
    }
}

@Suite struct SamplingTests {
    private let row: [Float] = [2, 1, 0.5, 0, -1, -3]

    private func draws(_ sampler: Sampler, count: Int) -> [Int32: Int] {
        let random = Philox(seed: 42)
        var counts: [Int32: Int] = [:]
        for draw in 0..<count {
            counts[
                sampler.draw(row, vocab: row.count, uniform: random.uniform(forward: draw, position: 7)).token,
                default: 0] += 1
        }
        return counts
    }

    /// Frequencies against the distribution computed here, in double precision.
    @Test(arguments: [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.5, 3, 1.0), (1.0, 0, 0.8), (0.7, 4, 0.9)])
    func frequenciesAreTheDistribution(_ temperature: Double, _ topK: Int, _ topP: Double) {
        var kept = row.enumerated().map { ($0.offset, exp(Double($0.element) / temperature)) }
        if topK > 0 { kept = Array(kept.prefix(topK)) }  // the row is sorted
        let sum = kept.reduce(0) { $0 + $1.1 }
        var before = 0.0
        kept = kept.filter { item in
            defer { before += item.1 / sum }
            return before <= topP
        }
        let total = kept.reduce(0) { $0 + $1.1 }
        let count = 40_000
        let sampler = Sampler(temperature: Float(temperature), topK: topK, topP: Float(topP))
        let seen = draws(sampler, count: count)
        #expect(Set(seen.keys) == Set(kept.map { Int32($0.0) }))
        for (id, weight) in kept {
            let expected = weight / total * Double(count)
            #expect(abs(Double(seen[Int32(id)] ?? 0) - expected) < 5 * expected.squareRoot() + 1)
        }
    }

    @Test func confidenceIsThatOfTheFilteredDistribution() {
        let (token, confidence) = Sampler(temperature: 2, topK: 1, topP: 1).draw(row, vocab: row.count, uniform: 0.99)
        #expect(token == 0 && confidence == 1)
    }

    @Test func equalSeedsDrawEqualTokens() throws {
        func run(_ seed: UInt64, threads: Int) throws -> [Int32] {
            var policy = Policy.quality
            policy.temperature = 1
            policy.seed = seed
            let run = try Run.all("gqa_group")[0]
            var sampled = run
            sampled.override = policy
            let decoder = try Decoder(run.model(threads: threads), prompt: run.prompt, options: sampled.options)
            try decoder.run()
            return decoder.output
        }
        #expect(try run(1, threads: 1) == run(1, threads: 3))
        #expect(try run(1, threads: 1) != run(2, threads: 1))
    }

    /// Known answers of Random123's kat_vectors for philox4x32-10: counter and key all zero.
    @Test func philoxIsPhilox() {
        let expected = Double((UInt64(0x6627_e8d5) << 32 | UInt64(0xe169_c58d)) >> 11) * 0x1p-53
        #expect(Philox(seed: 0).uniform(forward: 0, position: 0) == expected)
    }
}
