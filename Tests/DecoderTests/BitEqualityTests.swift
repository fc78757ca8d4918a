import LLaDA
import TestSupport
import Testing

/// Equal inputs give equal bits.
@Suite struct BitEqualityTests {
    /// Everything a run shows: tokens, and the bits of each confidence and logit on the way.
    private func trace(
        _ run: Run, threads: Int, useCache: Bool = true, kvDType: NumberFormat? = nil
    ) throws -> [UInt64] {
        let decoder = try run.decoder(run.model(threads: threads, kvDType: kvDType)) { $0.useCache = useCache }
        var trace: [UInt64] = []
        while !decoder.isFinished {
            try decoder.forward()
            let predictions = try #require(try decoder.predictions)
            for (token, confidence) in zip(predictions.tokens, predictions.confidences) {
                trace.append(UInt64(UInt32(bitPattern: token)) << 32 | UInt64(confidence.bitPattern))
            }
            for position in decoder.active { trace += try decoder.logits(at: position).map { UInt64($0.bitPattern) } }
            try decoder.propose()
            try decoder.apply()
        }
        return trace + decoder.canvas.map { UInt64(UInt32(bitPattern: $0)) }
    }

    private func sample(_ name: String) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: 0, to: runs.count, by: 23).map { runs[$0] }
    }

    @Test(arguments: Run.allModels) func threadsDoNotShow(_ name: String) throws {
        for run in try sample(name) {
            let one = try trace(run, threads: 1)
            #expect(try trace(run, threads: 2) == one, "\(run.id)")
            #expect(try trace(run, threads: 3) == one, "\(run.id)")
        }
    }

    @Test(arguments: Run.allModels) func theCacheDoesNotShow(_ name: String) throws {
        for run in try sample(name) {
            #expect(try trace(run, threads: 2, useCache: false) == trace(run, threads: 2), "\(run.id)")
        }
    }

    @Test(arguments: Run.allModels) func norWithKeysAndValuesInBF16(_ name: String) throws {
        for run in try sample(name) {
            let one = try trace(run, threads: 1, kvDType: .bf16)
            #expect(try trace(run, threads: 3, kvDType: .bf16) == one, "\(run.id)")
            #expect(try trace(run, threads: 2, useCache: false, kvDType: .bf16) == one, "\(run.id)")
        }
    }

    @Test(arguments: [NumberFormat.f32, .bf16]) func theCacheDoesNotShowWhenBlocksAreEdited(_ kvDType: NumberFormat)
        throws
    {
        for var run in try sample("mini_like") where run.algo == "hf21" {
            var policy = run.policy
            policy.mbeWindow = 2
            policy.mbeRounds = 2
            run.override = policy
            let cached = try trace(run, threads: 2, kvDType: kvDType)
            #expect(try trace(run, threads: 2, useCache: false, kvDType: kvDType) == cached, "\(run.id)")
        }
    }
}
