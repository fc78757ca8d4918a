import Foundation
import LLaDA
import TestSupport
import Testing

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

@Suite struct ScriptedStepTests {
    @Test(arguments: [false, true]) func oneJointStepIsSGLangs(_ penalised: Bool) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(Fixture.conformance)/units.json"))
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
            let script = try Script(logits: step.logits[0].count) { _, position, _ in step.logits[position] }
            let sequence = CachedSequence(script, blockLength: step.x.count)
            let decoder = try Decoder(sequence, maskID: mask, eosIDs: [], prompt: [], options: options)
            for (position, token) in step.x.enumerated() where token != mask {
                try decoder.setToken(at: position, to: token)
            }
            try decoder.step()
            #expect(Array(decoder.canvas) == (penalised ? step.penalised : step.plain))
        }
    }

    @Test func aModelThatPredictsOnlyTheMaskEndsAllTheSame() throws {
        let script = try Script(vocabSize: 16) { _, _, _ in (mask, 0.9) }
        let decoder = try decoder(script, .speedy)
        try decoder.run()
        #expect(!decoder.canvas.contains(mask))
        #expect(decoder.finishReason == .length)
    }

    /// Fills position 2 when it is masked and masks it again when it is not, while another mask keeps the block open.
    @Test func aCycleThroughTheMaskEnds() throws {
        let script = try Script(vocabSize: 16) { tokens, position, _ in
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

    /// The block is full each time round, so every round costs one step of the budget, and the reference ends by
    /// itself.
    @Test func aCycleThroughAFullBlockIsTheReferences() throws {
        let script = try Script(vocabSize: 16) { tokens, position, _ in
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
        let script = try Script(vocabSize: 16) { _, _, _ in (3, 0.5) }
        let decoder = try decoder(script, .lowConfidence)
        try decoder.step()
        #expect(decoder.events.map(\.position) == [1])
        #expect(decoder.events[0].reason == .fallback && decoder.events[0].kind == .unmask)
    }

    @Test func editsAreEventsWithReasons() throws {
        // Drafts 3 everywhere; sees 4 once nothing is masked.
        let script = try Script(vocabSize: 16) { tokens, _, _ in tokens.contains(mask) ? (3, 0.8) : (4, 0.8) }
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
        let script = try Script(vocabSize: 16) { _, position, _ in position == 2 ? (end, 0.99) : (3, 0.99) }
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

    /// A script takes the road of a model: what several decoders do together, each does alone.
    @Test func scriptsGoTogether() throws {
        let script = try Script(vocabSize: 16) { tokens, position, isWindow in
            (Int32((tokens.count + position + (isWindow ? 1 : 0)) % 13), position % 3 == 0 ? 0.6 : 0.9)
        }
        var revisiting = Policy.speedy
        revisiting.mbeWindow = 2
        let policies = [Policy.lowConfidence, .quality, revisiting]
        let together = try policies.map { try decoder(script, genLength: 11, $0) }
        try DecoderBatch.run(together, mostInFlight: 2)
        for (policy, one) in zip(policies, together) {
            let alone = try decoder(script, genLength: 11, policy)
            try alone.run()
            #expect(one.output == alone.output && one.forwards == alone.forwards && one.edits == alone.edits)
            #expect(Array(one.stepMap) == Array(alone.stepMap))
        }
    }

    @Test func anEndInThePromptIsNoEnd() throws {
        let script = try Script(vocabSize: 16) { _, _, _ in (3, 0.99) }
        for policy in [Policy.lowConfidence, .speedy] {
            let decoder = try decoder(script, prompt: [end, 1], genLength: 4, early: true, policy)
            try decoder.run()
            #expect(decoder.output == [3, 3, 3, 3])
        }
    }
}
