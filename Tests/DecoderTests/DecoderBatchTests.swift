import LLaDA
import TestSupport
import Testing

/// Decoders that are stepped together get what each gets alone.
@Suite struct DecoderBatchTests {
    /// Runs of all kinds: two policies, several block lengths, prompts and lengths.
    private func sample(_ name: String, _ count: Int) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: 0, to: runs.count, by: max(1, runs.count / count)).map { runs[$0] }
    }

    @Test(arguments: Run.models) func companyDoesNotShow(_ name: String) throws {
        let runs = try sample(name, 12)
        let model = try runs[0].model(threads: 2)
        let alone = try runs.map { try Trace.rest(of: model.decoder(prompt: $0.prompt, options: $0.options)) }
        let decoders = try runs.map { try model.decoder(prompt: $0.prompt, options: $0.options) }
        var traces = runs.map { _ in Trace() }
        // They come one by one, and leave as they finish.
        var present = 1
        while decoders.contains(where: { !$0.isFinished }) {
            let working = decoders.prefix(present).indices.filter { !decoders[$0].isFinished }
            try DecoderBatch.step(working.map { decoders[$0] })
            for index in working { try traces[index].note(decoders[index]) }
            present = min(present + 1, decoders.count)
        }
        for index in runs.indices {
            try traces[index].note(decoders[index])
            #expect(traces[index].values == alone[index], "\(runs[index].id)")
        }
    }

    @Test func samplingAndEditingOfBlocksHaveCompany() throws {
        var runs = try sample("mini_like", 6)
        for index in runs.indices {
            var policy = Policy(.jointThreshold)
            policy.temperature = index % 2 == 0 ? 0.8 : 0
            policy.seed = UInt64(index)
            policy.mbeWindow = 1 + index % 3
            runs[index].override = policy
        }
        let model = try runs[0].model(threads: 2)
        let alone = try runs.map { try Trace.rest(of: model.decoder(prompt: $0.prompt, options: $0.options)) }
        let decoders = try runs.map { try model.decoder(prompt: $0.prompt, options: $0.options) }
        var traces = runs.map { _ in Trace() }
        try DecoderBatch.run(decoders, mostInFlight: 4) { decoder in
            if let index = decoders.firstIndex(where: { $0 === decoder }) { try? traces[index].note(decoder) }
        }
        for index in runs.indices {
            try traces[index].note(decoders[index])
            #expect(traces[index].values == alone[index])
        }
    }

    /// Prompts longer than one forward takes are prefilled together.
    @Test func longPromptsGoTogether() throws {
        let run = try Run.all("gqa_group")[0]
        let model = try run.model(threads: 2)
        var options = run.options
        options.blockLength = 32
        options.genLength = 32
        let prompts: [[Int32]] = [700, 40, 1300, 520].map { length in
            (0..<length).map { Int32(($0 * 7 + length) % 100) }
        }
        let alone = try prompts.map { try Trace.rest(of: model.decoder(prompt: $0, options: options)) }
        let decoders = try prompts.map { try model.decoder(prompt: $0, options: options) }
        var traces = prompts.map { _ in Trace() }
        while decoders.contains(where: { !$0.isFinished }) {
            let working = decoders.indices.filter { !decoders[$0].isFinished }
            try DecoderBatch.step(working.map { decoders[$0] })
            for index in working { try traces[index].note(decoders[index]) }
        }
        for index in prompts.indices {
            try traces[index].note(decoders[index])
            #expect(traces[index].values == alone[index])
        }
    }

    @Test func cancellingOneLeavesAllUsable() throws {
        let runs = try sample("mini_like", 4)
        let model = try runs[0].model()
        let alone = try runs.map { try Trace.rest(of: model.decoder(prompt: $0.prompt, options: $0.options)) }
        let decoders = try runs.map { try model.decoder(prompt: $0.prompt, options: $0.options) }
        decoders[2].cancellation.cancel()
        #expect(throws: LLaDAError(.cancelled, "cancelled by the host")) { try DecoderBatch.step(decoders) }
        #expect(decoders.allSatisfy { $0.forwards == 0 })
        for (decoder, alone) in zip(decoders, alone) { #expect(try Trace.rest(of: decoder) == alone) }
    }

    @Test func whatIsNoBatchIsRefused() throws {
        let run = try Run.all("mini_like")[0]
        let decoder = try run.model().decoder(prompt: run.prompt, options: run.options)
        // Of the same files, opened again.
        let other = try run.model().decoder(prompt: run.prompt, options: run.options)
        #expect(throws: LLaDAError.self) { try DecoderBatch.step([decoder, decoder]) }
        #expect(throws: LLaDAError.self) { try DecoderBatch.step([decoder, other]) }
        try DecoderBatch.step([])
    }
}
