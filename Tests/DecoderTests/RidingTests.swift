import LLaDA
import TestSupport
import Testing

/// The next block runs along in the forward that may end the block before it: nobody sees more of that than counters.
@Suite struct RidingTests {
    private func sample(_ name: String, _ every: Int = 19) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: 0, to: runs.count, by: every).map { runs[$0] }
    }

    private func decoder(
        _ run: Run, _ model: Model, _ riding: Decoder.Riding, _ change: (inout Decoder.Options) -> Void = { _ in }
    ) throws -> Decoder {
        let decoder = try run.decoder(model, change)
        decoder.riding = riding
        return decoder
    }

    @Test(arguments: Run.allModels, [NumberFormat.f32, .bf16]) func theRiderDoesNotShow(
        _ name: String, _ kvDType: NumberFormat
    ) throws {
        var saved = 0
        for var run in try sample(name) {
            for window in run.policy.kind == .jointThreshold ? [1, 2] : [1] {
                var policy = run.policy
                policy.mbeWindow = window
                run.override = policy
                let model = try run.model(threads: 2, kvDType: kvDType)
                let with = try decoder(run, model, .always)
                let without = try decoder(run, model, .never)
                #expect(try Trace.rest(of: with) == Trace.rest(of: without), "\(run.id)")
                #expect(Array(with.stepMap) == Array(without.stepMap) && with.output == without.output, "\(run.id)")
                #expect(without.computedForwards == without.forwards)
                saved += with.forwards - with.computedForwards
            }
        }
        #expect(saved > 0)
    }

    /// Some ride, others do not, and they leave as they finish.
    @Test(arguments: Run.allModels) func norInABatch(_ name: String) throws {
        let runs = try sample(name, 29)
        let model = try runs[0].model(threads: 2)
        let alone = try runs.map { try Trace.rest(of: decoder($0, model, .never)) }
        let decoders = try runs.enumerated().map { index, run in
            try decoder(run, model, index % 3 == 0 ? .never : .always)
        }
        var traces = runs.map { _ in Trace() }
        while decoders.contains(where: { !$0.isFinished }) {
            let working = decoders.indices.filter { !decoders[$0].isFinished }
            try DecoderBatch.step(working.map { decoders[$0] })
            for index in working { try traces[index].note(decoders[index]) }
        }
        for index in runs.indices {
            try traces[index].note(decoders[index])
            #expect(traces[index].values == alone[index], "\(runs[index].id)")
        }
        #expect(decoders.contains { $0.computedForwards < $0.forwards })
    }

    /// A model that writes 3 and edits nothing: a block takes a step to fill, and one in which nothing changes.
    private func steady() throws -> Script { try Script(vocabSize: 16) { _, _, _ in (3, 0.99) } }

    @Test func aBlockThatStaysSavesTheFirstForwardOfTheNext() throws {
        let with = try DecoderTests.decoder(steady(), genLength: 15, .quality)
        try with.run()
        // Four blocks of two steps; three first steps have ridden.
        #expect(with.forwards == 8 && with.computedForwards == 5)
        #expect(with.computedPositions == 4 * 5 + 4 * 3)
        let without = try DecoderTests.decoder(steady(), genLength: 15, .quality)
        without.riding = .never
        try without.run()
        #expect(without.forwards == 8 && without.computedForwards == 8 && without.computedPositions == 32)
    }

    /// Whatever changes what the next block would see makes it run again.
    @Test func whatChangesInBetweenThrowsTheRiderAway() throws {
        func atNextBlock() throws -> Decoder {
            let decoder = try DecoderTests.decoder(steady(), genLength: 15, .quality)
            try decoder.step()
            try decoder.step()
            #expect(decoder.active.lowerBound == 4 && decoder.computedForwards == 2)
            return decoder
        }
        func runs(_ what: String, _ count: Int, _ change: (Decoder) throws -> Void) throws {
            let decoder = try atNextBlock()
            try change(decoder)
            let before = decoder.computedForwards
            try decoder.forward()
            #expect(decoder.computedForwards - before == count, "\(what)")
        }
        try runs("nothing", 0) { _ in }
        try runs("a token before", 1) { try $0.setToken(at: 2, to: 7) }
        try runs("a token of the block", 1) { try $0.setToken(at: 5, to: 7) }
        try runs("there and back", 0) {
            try $0.setToken(at: 5, to: 7)
            try $0.mask(at: 5)
        }
        // What the head is told comes after the layers.
        try runs("a ban", 0) { try $0.ban(3, at: nil, true) }
        try runs("a lock", 0) { try $0.lock(at: 5, true) }
        try runs("a later token", 0) { try $0.setToken(at: 9, to: 7) }
        try runs("a fork", 0) { _ = try $0.fork() }
        let banned = try atNextBlock()
        try banned.ban(3, at: nil, true)
        try banned.step()
        #expect(!banned.canvas[4..<8].contains(3))
        let fork = try atNextBlock().fork()
        try fork.forward()
        #expect(fork.computedForwards == 0)
    }

    /// A forward that ends a block with an end of sequence, or without the cache, or the canvas, takes no rider.
    @Test func whereNoneRides() throws {
        let ends = try Script(vocabSize: 16) { _, position, _ in (position == 6 ? end : 3, 0.99) }
        let decoder = try DecoderTests.decoder(ends, genLength: 15, early: true, .quality)
        try decoder.run()
        #expect(decoder.output.last == end && decoder.forwards == 4 && decoder.computedForwards == 3)
        #expect(decoder.computedPositions == 16)
        let low = try DecoderTests.decoder(steady(), genLength: 15, .lowConfidence)
        try low.run()
        #expect(low.computedForwards == low.forwards)
    }

    /// The head judges what the policy reads, and the rest for whoever asks, with the same numbers.
    @Test func whatNobodyReadsIsNotJudged() throws {
        let script = try Script(vocabSize: 16) { tokens, position, _ in
            (Int32((tokens.count + position) % 13), position % 3 == 0 ? 0.6 : 0.96)
        }
        let plain = try DecoderTests.decoder(script, genLength: 15, .lowConfidence)
        var masks = 0
        while !plain.isFinished {
            masks += plain.active.count { plain.canvas[$0] == mask }
            try plain.step()
        }
        #expect(plain.judgedPositions == masks)
        let ruled = try DecoderTests.decoder(script, genLength: 15, .lowConfidence)
        ruled.rule = { _ in }
        var (all, asked): ([Int32], [Int32]) = ([], [])
        while !ruled.isFinished {
            try ruled.step()
            all += try #require(try ruled.predictions).tokens
        }
        #expect(ruled.judgedPositions == 4 * ruled.forwards)
        let looked = try DecoderTests.decoder(script, genLength: 15, .lowConfidence)
        while !looked.isFinished {
            try looked.step()
            asked += try #require(try looked.predictions).tokens
        }
        #expect(all == asked && Array(looked.canvas) == Array(plain.canvas))
        #expect(looked.judgedPositions == 4 * looked.forwards)
    }

    /// More is not worth more than all of it: pure arithmetic, with figures made up.
    @Test func theCostModelWeighsBytesAgainstArithmetic() {
        var cost = ForwardCost(machine: .init(bandwidth: 50e9, arithmetic: 0.85e12))
        (cost.layers, cost.mixtures, cost.experts, cost.expertsPerRow) = (20, 19, 256, 8)
        (cost.sharedBytes, cost.sharedOperations) = (20 * 14e6, 20 * 28e6)
        (cost.expertBytes, cost.expertOperations) = (1.6e6, 6.3e6)
        cost.scoreOperations = 20 * 16_384
        #expect(cost.seconds(rows: 0, seen: 512) == 0)
        #expect(cost.seconds(rows: 64, seen: 512) < 2 * cost.seconds(rows: 32, seen: 512))
        // Alone, 64 rows share the experts that 32 have read.
        #expect(cost.pays(rider: 32, rows: 32, others: 0, seen: 512))
        // In a crowd all experts are read anyway, and a rider that is thrown away was arithmetic for nothing.
        #expect(!cost.pays(rider: 32, rows: 32, others: 480, seen: 512))
        // A dense model on a machine that has bandwidth to spare.
        (cost.mixtures, cost.experts) = (0, 0)
        cost.machine = .init(bandwidth: 400e9, arithmetic: 0.1e12)
        #expect(!cost.pays(rider: 32, rows: 32, others: 0, seen: 512))
    }
}
