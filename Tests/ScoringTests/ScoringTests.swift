import Foundation
import LLaDA
import TestSupport
import Testing

/// Noisy versions judged in one pass are what block after block, each on its own, would be.
@Suite struct ScoringTests {
    private let block = 8
    private func mask(_ model: Model) -> Int32 { Int32(model.config.vocabSize - 1) }

    /// The slow way: for each block the logits of the clean blocks before it and the noisy one, in f64 from there.
    @Test(arguments: Fixture.names, [false, true]) func blockByBlock(_ name: String, _ everywhere: Bool) throws {
        let model = try open(name)
        let noise = Noise(lengths: [37, 24, 8, 1], versions: 4, promptLength: 1, mask: mask(model))
        let scores = try noise.scores(model, blockLength: block, everywhere: everywhere)
        let vocab = model.config.vocabSize
        var place = 0
        for one in noise.cases {
            let count = one.tokens.count
            for version in 0..<one.versions {
                let noisy = Array(one.noisy[version * count..<(version + 1) * count])
                for start in stride(from: 0, to: count, by: block) {
                    let end = min(start + block, count)
                    let seen = Array(one.tokens[..<start]) + noisy[start..<end]
                    var logits = [Float](repeating: 0, count: seen.count * vocab)
                    try logits.withUnsafeMutableBufferPointer { out in
                        try seen.withUnsafeBufferPointer { try model.logits($0, blockLength: block, into: out) }
                    }
                    for position in start..<end {
                        let index = place + version * count + position
                        guard position >= one.promptLength && (everywhere || noisy[position] != one.tokens[position])
                        else {
                            #expect(scores.predictions[index] == -1)
                            let others = [
                                scores.logProbabilities[index], scores.confidences[index], scores.entropies[index],
                            ]
                            #expect(others.allSatisfy { $0.isNaN })
                            continue
                        }
                        let row = logits[position * vocab..<(position + 1) * vocab].map(Double.init)
                        let most = try #require(row.max())
                        let sum = row.reduce(0) { $0 + exp($1 - most) }
                        let logs = row.map { $0 - most - log(sum) }
                        #expect(abs(Double(scores.logProbabilities[index]) - logs[Int(one.tokens[position])]) < 1e-5)
                        #expect(Int(scores.predictions[index]) == row.firstIndex(of: most))
                        #expect(abs(Double(scores.confidences[index]) - 1 / sum) < 1e-5)
                        #expect(abs(Double(scores.entropies[index]) + logs.reduce(0) { $0 + exp($1) * $1 }) < 1e-5)
                    }
                }
            }
            place += one.noisy.count
        }
    }

    /// Enough rows for several forwards, in which sequences and versions meet.
    @Test(arguments: Fixture.names, [nil, NumberFormat.bf16, .int8, .int4])
    func companyAndThreadsDoNotShow(_ name: String, _ dtype: NumberFormat?) throws {
        let one = try open(name, dtype: dtype)
        let noise = Noise(lengths: [77, 150, 64], versions: 6, promptLength: 10, mask: mask(one))
        let together = try noise.scores(one, blockLength: block, everywhere: true)
        for threads in 2...3 {
            let more = try open(name, threads: threads, dtype: dtype)
            #expect(try noise.scores(more, blockLength: block, everywhere: true) == together)
        }
        var alone: Noise.Scores?
        for each in noise.cases {
            for version in 0..<each.versions {
                var single = each
                single.noisy = Array(each.noisy[version * each.tokens.count..<(version + 1) * each.tokens.count])
                single.versions = 1
                let scores = try Noise([single]).scores(one, blockLength: block, everywhere: true)
                alone = alone.map { $0 + scores } ?? scores
            }
        }
        #expect(alone == together)
    }

    @Test func aPlanRunsNothingTwiceAndNothingInVain() throws {
        let mask: Int32 = 127
        let noise = Noise(lengths: [40, 40, 24], versions: 0, promptLength: 16, mask: mask)
        var cases = noise.cases
        cases[1].tokens[20] += 1  // the second differs from its third block on
        for index in cases.indices {
            cases[index].versions = 2
            cases[index].noisy = cases[index].tokens + cases[index].tokens
        }
        cases[0].noisy[40 + 33] = mask  // the first: the last block of its second version alone
        cases[1].noisy[17] = mask  // the second: a block after two that the first has as well
        let plan = Noise(cases).withSequences { sequences in
            NoisyCleanPlan(sequences, blockLength: 8) { number, version, position in
                sequences[number].noisy[version * sequences[number].tokens.count + position]
                    != sequences[number].tokens[position]
            }
        }
        let blocks = try #require(plan.forwards.first)
        #expect(plan.forwards.count == 1)
        #expect(blocks.map(\.sequence) == [0, 0, 0, 0, 0, 1])
        #expect(blocks.map(\.version) == [nil, nil, nil, nil, 1, 0])
        #expect(blocks.map(\.index) == [0, 1, 2, 3, 4, 2])
        #expect(plan.rowCount == 48)
    }

    @Test func forwardsAreOfABoundedSize() throws {
        let noise = Noise(lengths: [304, 200], versions: 5, promptLength: 0, mask: 127)
        let plan = noise.withSequences { NoisyCleanPlan($0, blockLength: 8) { _, _, _ in true } }
        let rows = plan.forwards.map { $0.count * 8 }
        #expect(rows.dropLast().allSatisfy { $0 == 512 })
        #expect((plan.forwards.last?.count ?? 0) > 0)
    }

    /// The first forwards are then of clean blocks alone.
    @Test func onlyTheEndOfALongSequence() throws {
        let model = try open("gqa_group", threads: 2)
        let tokens = (0..<1205).map { Int32($0 * 5 % 126) }
        let noisy = tokens.dropLast() + [mask(model)]
        let scores = try Noise([.init(tokens: tokens, noisy: Array(noisy), versions: 1, promptLength: 1100)])
            .scores(model, blockLength: block)
        var logits = [Float](repeating: 0, count: tokens.count * model.config.vocabSize)
        try logits.withUnsafeMutableBufferPointer { out in
            try noisy.withUnsafeBufferPointer { try model.logits($0, blockLength: block, into: out) }
        }
        let row = logits.suffix(model.config.vocabSize).map(Double.init)
        let expected = row[Int(tokens[1204])] - log(row.reduce(0) { $0 + exp($1) })
        #expect(abs(Double(scores.logProbabilities[1204]) - expected) < 1e-5)
        #expect(scores.predictions.dropLast().allSatisfy { $0 == -1 })
    }

    @Test func progressAndStopping() throws {
        let model = try open("gqa_group")
        let noise = Noise(lengths: [300], versions: 5, promptLength: 0, mask: mask(model))
        var fractions: [Double] = []
        _ = try noise.scores(model, blockLength: block) { fractions.append($0) }
        #expect(
            fractions.count > 2 && fractions.last == 1 && zip(fractions, fractions.dropFirst()).allSatisfy { $0 < $1 })
        let stop = LLaDAError(.stopped, "enough")
        #expect(throws: stop) {
            try noise.scores(model, blockLength: block) { (_) throws(LLaDAError) in throw stop }
        }
    }

    @Test func refusals() throws {
        let model = try open("gqa_group")
        let good = Noise.Case(tokens: [1, 2, 3, 4], noisy: [1, 2, 127, 4], versions: 1, promptLength: 2)
        var bad = [good, good, good, good, good]
        bad[0].noisy[1] = 127  // in the prompt
        bad[1].promptLength = 5
        bad[2].noisy[3] = 128  // outside the vocabulary
        bad[3].tokens[0] = -1
        bad[4].versions = 2
        for one in bad {
            #expect { try Noise([good, one]).scores(model, blockLength: block) } throws: { problem in
                let problem = problem as? LLaDAError
                return problem?.status == .invalidArgument && problem?.message.contains("sequence 1") == true
            }
        }
        #expect(throws: LLaDAError.self) { try Noise([good]).scores(model, blockLength: 0) }
        #expect(try Noise([]).scores(model, blockLength: block).predictions.isEmpty)
        // However many versions of nothing there are said to be.
        let nothing = Noise.Case(tokens: [], noisy: [], versions: .max, promptLength: 0)
        #expect(try Noise([nothing]).scores(model, blockLength: block).predictions.isEmpty)
    }

    @Test func logarithms() {
        for exponent in -1070...1020 {
            for mantissa in [1.0, 1.000001, 1.2, 1.4142135, 1.4142136, 1.7, 1.9999999] {
                let x = scalbn(mantissa, exponent)
                #expect(abs(logarithm(x) - log(x)) <= 1e-15 * max(1, abs(log(x))), "\(x)")
            }
        }
        #expect(logarithm(1) == 0)
        #expect([0, -1, .infinity, .nan].allSatisfy { logarithm($0).isNaN })
    }
}
