import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct SamplerTests {
    private let row: [Float] = [2, 1, 0.5, 0, -1, -3]

    private func draw(_ sampler: Sampler, _ uniform: Double) -> (token: Int32, confidence: Float) {
        withUnsafeTemporaryAllocation(of: WeighedToken.self, capacity: row.count) { memory in
            memory.baseAddress.map { sampler.draw(row, vocab: row.count, uniform: uniform, $0) } ?? (-1, 0)
        }
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
