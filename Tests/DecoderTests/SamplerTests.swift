import Foundation
import Kernels
import LLaDA
import TestSupport
import Testing

@Suite struct SamplerTests {
    private let row: [Float] = [2, 1, 0.5, 0, -1, -3]

    private func draw(_ sampler: Sampler, _ uniform: Double) -> (token: Int32, confidence: Float) {
        draw(sampler, uniform, row)
    }

    private func draw(
        _ sampler: Sampler, _ uniform: Double, _ row: [Float], _ isa: llk_isa = llk_best_isa()
    ) -> (token: Int32, confidence: Float) {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: SamplerMemory.size(vocabSize: row.count)) { words in
            guard let base = words.baseAddress else { return (-1, 0) }
            return sampler.draw(
                row, uniform: uniform, SamplerMemory(base, vocabSize: row.count), llk_get(isa).pointee)
        }
    }

    /// The same by sorting all tokens, and adding exact weights one after another.
    private func drawSlowly(
        _ row: [Float], _ temperature: Float, _ topK: Int, _ topP: Float, _ uniform: Double
    ) -> (token: Int32, confidence: Float) {
        struct Token {
            var id: Int32
            var z: Float
            var weight: UInt64 = 0
        }
        func clamped(_ z: Float) -> Float {
            max(-Float.greatestFiniteMagnitude, min(z, Float.greatestFiniteMagnitude))
        }
        var tokens = row.enumerated().filter { $0.element > -.infinity }.map {
            Token(id: Int32($0.offset), z: clamped($0.element / temperature))
        }
        if topK > 0, topK < tokens.count {
            let least = tokens.map(\.z).sorted(by: >)[topK - 1]
            tokens.removeAll { $0.z < least }
        }
        let most = tokens.map(\.z).max() ?? 0
        for index in tokens.indices {
            let exponential = Double(llk_expf(tokens[index].z - most))
            tokens[index].weight = UInt64((exponential * 0x1p41).rounded(.toNearestOrEven))
        }
        if topP < 1 {
            tokens.sort { $0.z != $1.z ? $0.z > $1.z : $0.id < $1.id }
            let all = tokens.reduce(0 as UInt64) { $0 + $1.weight }
            var before: UInt64 = 0
            tokens = tokens.filter { token in
                defer { before += token.weight }
                return Double(before) / Double(all) <= Double(topP)
            }
        }
        let sum = tokens.reduce(0 as UInt64) { $0 + $1.weight }
        let product = UInt64(uniform * 0x1p53).multipliedFullWidth(by: sum)
        var rest = product.high << 11 | product.low >> 53
        for token in tokens {
            if rest < token.weight {
                return (token.id, Float(Double(llk_expf(token.z - most)) / (Double(sum) * 0x1p-41)))
            }
            rest -= token.weight
        }
        return (-1, .nan)
    }

    /// Rows of all kinds, drawn from as the slow way does: to the bit, with the kernels of every processor.
    @Test(arguments: [LLK_PORTABLE, llk_best_isa()].map(\.rawValue))
    func drawsAreThoseOfTheSlowWay(_ isa: UInt32) {
        var generator = SystemRandomNumberGenerator()
        func normal(_ spread: Float) -> Float {
            spread * (0..<4).reduce(0) { sum, _ in sum + Float.random(in: -1...1, using: &generator) }
        }
        let shapes: [(String, (Int) -> Float)] = [
            ("plain", { _ in normal(2) }), ("flat", { _ in normal(0.001) }), ("equal", { _ in 1.5 }),
            ("of few values", { _ in normal(2).rounded() }), ("ascending", { Float($0) / 100 }),
            ("peaked", { $0 == 3 ? 40 : normal(1) }), ("banned", { $0 % 3 == 0 ? -.infinity : normal(3) }),
            ("extreme", { $0 % 5 == 0 ? 3e38 : normal(5e37) }), ("far", { $0 == 7 ? 1e30 : normal(5) }),
            ("only one", { $0 == 2 ? 0 : -.infinity }),
        ]
        for (name, logit) in shapes {
            for count in [5, 300, 3000] {
                let row = (0..<count).map(logit)
                for round in 0..<30 {
                    let temperature = ([1, 0.7, 2, 1e-30, .leastNonzeroMagnitude] as [Float])[round % 5]
                    let topK = [0, 1, 7, count / 2, count - 1, count + 9][round % 6]
                    let topP = ([1, 0.9, 0.3, 1e-9, 0.999999] as [Float])[round % 7 % 5]
                    let uniform =
                        round == 0 ? 0 : round == 1 ? 1 - 0x1p-53 : Double.random(in: 0..<1, using: &generator)
                    let sampler = Sampler(temperature: temperature, topK: topK, topP: topP)
                    let (token, confidence) = draw(sampler, uniform, row, llk_isa(rawValue: isa))
                    let expected = drawSlowly(row, temperature, topK, topP, uniform)
                    #expect(
                        token == expected.token && confidence == expected.confidence,
                        "\(name), \(count): temperature \(temperature), top-k \(topK), top-p \(topP), \(uniform)")
                }
            }
        }
    }

    @Test func unsoundRowsGiveNaN() {
        let sampler = Sampler(temperature: 1, topK: 3, topP: 0.9)
        for bad in [.nan, .infinity] as [Float] {
            for place in [0, 5, 17] {
                var row = [Float](repeating: 1, count: 18)
                row[place] = bad
                #expect(draw(sampler, 0.5, row).confidence.isNaN)
            }
        }
        #expect(draw(sampler, 0.5, [-.infinity, -.infinity]).confidence.isNaN)
    }

    private func draws(_ sampler: Sampler, count: Int) -> [Int32: Int] {
        let random = Philox(seed: 42)
        var counts: [Int32: Int] = [:]
        for draw in 0..<count {
            counts[self.draw(sampler, random.uniform(forward: draw, position: 7)).token, default: 0] += 1
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
        let (token, confidence) = draw(Sampler(temperature: 2, topK: 1, topP: 1), 0.99)
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
            let decoder = try run.model(threads: threads).decoder(prompt: run.prompt, options: sampled.options)
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
