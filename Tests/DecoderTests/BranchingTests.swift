import LLaDA
import TestSupport
import Testing

/// Forks and truncation, on the conformance models and the policies of their runs.
@Suite struct BranchingTests {
    private func sample(_ name: String, _ offset: Int) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: offset, to: runs.count, by: 41).map { runs[$0] }
    }

    /// A fork goes the way its origin goes, from any step and between any two parts of one, and leaves no trace in it.
    @Test(arguments: Run.models) func aForkGoesTheSameWay(_ name: String) throws {
        for (index, run) in try sample(name, 0).enumerated() {
            let model = try run.model()
            let plain = try Trace.rest(of: model.decoder(prompt: run.prompt, options: run.options))
            let decoder = try model.decoder(prompt: run.prompt, options: run.options)
            var trace = Trace()
            var forks: [(Decoder, at: Int)] = []
            while !decoder.isFinished {
                if index % 2 == 0 || decoder.forwards % 3 == 0 {
                    forks.append((try decoder.fork(), trace.values.count))
                }
                try decoder.forward()
                if decoder.forwards % 2 == 0 { forks.append((try decoder.fork(), trace.values.count)) }
                try decoder.propose()
                if decoder.forwards % 5 == 0 { forks.append((try decoder.fork(), trace.values.count)) }
                try decoder.apply()
                try trace.note(decoder)
            }
            try trace.note(decoder)
            #expect(trace.values == plain, "\(run.id)")
            for (fork, at) in forks { #expect(try Trace.rest(of: fork) == Array(plain[at...]), "\(run.id)") }
        }
    }

    /// Logits of a fork made after a forward are its origin's, also when that one has gone on.
    @Test func aForkKeepsTheLogits() throws {
        let run = try Run.all("mini_like")[0]
        let decoder = try run.model().decoder(prompt: run.prompt, options: run.options)
        try decoder.forward()
        let fork = try decoder.fork()
        let position = decoder.active.lowerBound + 1
        let logits = try Array(decoder.logits(at: position))
        try decoder.step()
        try decoder.forward()
        #expect(try Array(fork.logits(at: position)) == logits)
        #expect(try fork.candidates(at: position, count: 3).count == 3)
    }

    /// Forks that differ compute only what differs, and what a decoder that never forked would.
    @Test func aForkThatDiffersIsADecoderOfItsOwn() throws {
        let run = try #require(
            try Run.all("gqa_group").first { $0.algo == "hf21" && $0.prompt.count > $0.block_length })
        let model = try run.model()
        let trunk = try model.decoder(prompt: run.prompt, options: run.options)
        let position = trunk.active.upperBound - 1
        try trunk.step()
        for token: Int32 in [3, 4, 5] {
            let fork = try trunk.fork()
            let before = fork.computedPositions
            try fork.setToken(at: position, to: token)
            try fork.lock(at: position, true)
            let alone = try model.decoder(prompt: run.prompt, options: run.options)
            try alone.step()
            try alone.setToken(at: position, to: token)
            try alone.lock(at: position, true)
            #expect(try Trace.rest(of: fork) == Trace.rest(of: alone))
            #expect(before == 0)
            #expect(fork.computedPositions == alone.computedPositions - trunk.computedPositions)
        }
    }

    /// Equal seeds draw equal tokens, others draw others.
    @Test func forksDrawByTheirSeeds() throws {
        let run = try Run.all("mini_like")[0]
        let model = try run.model()
        var options = run.options
        var policy = run.policy
        policy.temperature = 1
        options.policy = policy
        let trunk = try model.decoder(prompt: run.prompt, options: options)
        try trunk.step()
        func drawn(_ seed: UInt64) throws -> [UInt64] {
            var policy = policy
            policy.seed = seed
            return try Trace.rest(of: trunk.fork(policy: policy))
        }
        #expect(try drawn(0) == Trace.rest(of: trunk.fork()))
        #expect(try drawn(7) == drawn(7))
        #expect(try Set((1...5).map(drawn)).count > 1)
    }

    /// A fork has the rule of its origin, which is called with the fork; either may then have another.
    @Test func forksHaveTheRule() throws {
        let run = try Run.all("mini_like")[0]
        let trunk = try run.model().decoder(prompt: run.prompt, options: run.options)
        var called: [ObjectIdentifier] = []
        trunk.rule = { called.append(ObjectIdentifier($0)) }
        try trunk.step()
        let fork = try trunk.fork()
        trunk.rule = nil
        try trunk.step()
        try fork.step()
        #expect(called == [ObjectIdentifier(trunk), ObjectIdentifier(fork)])
    }

    /// Back to a block's start, the same way again; from the end as well.
    @Test(arguments: Run.models) func truncationIsTheWayBack(_ name: String) throws {
        for run in try sample(name, 7) {
            let model = try run.model()
            var options = run.options
            options.eosEarlyStop = false
            let decoder = try model.decoder(prompt: run.prompt, options: options)
            let first = run.prompt.count / run.block_length * run.block_length
            var starts: [Int: [Int32]] = [:]  // canvas when a block began
            while !decoder.isFinished {
                if decoder.blockStep == 0, !decoder.isEditingBlocks {
                    starts[decoder.active.lowerBound] = Array(decoder.canvas)
                }
                try decoder.step()
            }
            let output = decoder.output
            let canvas = Array(decoder.canvas)
            for (start, then) in starts.sorted(by: { $0.key > $1.key }) where start >= first {
                try decoder.truncate(to: start)
                #expect(Array(decoder.canvas) == then, "\(run.id)")
                #expect(decoder.active.lowerBound == start && decoder.settledLength <= start)
                let before = decoder.computedPositions
                try decoder.forward()
                // What stands before is not computed again; the block before may still lack its last forward.
                #expect(decoder.computedPositions - before <= 2 * run.block_length)
                try decoder.run()
                #expect(decoder.output == output && Array(decoder.canvas) == canvas, "\(run.id)")
            }
        }
    }

    @Test func truncationRefusesWhatIsNoBlock() throws {
        let run = try #require(try Run.all("mini_like").first { $0.prompt.count > $0.block_length })
        let decoder = try run.model().decoder(prompt: run.prompt, options: run.options)
        for position in [-run.block_length, 1, decoder.canvasLength, decoder.active.upperBound] {
            #expect(throws: LLaDAError.self) { try decoder.truncate(to: position) }
        }
    }

    /// A settled token that is changed: its block and those behind it are computed again, those before are not.
    @Test func anEditRecomputesWhatDepends() throws {
        let run = try #require(
            try Run.all("gqa_group").first { $0.algo == "hf21" && $0.block_length == 8 && $0.gen_length >= 24 })
        let model = try run.model()
        let decoder = try model.decoder(prompt: run.prompt, options: run.options)
        while decoder.settledLength < run.prompt.count / 8 * 8 + 16 { try decoder.step() }
        try decoder.forward()
        let edited = decoder.active.lowerBound - 16
        try decoder.setToken(at: edited, to: decoder.canvas[edited] == 5 ? 6 : 5)
        let before = decoder.computedPositions
        try decoder.forward()
        #expect(decoder.computedPositions - before == 24)
        var options = run.options
        options.useCache = false
        options.infill = true
        options.genLength = 0
        let plain = try model.decoder(prompt: Array(decoder.canvas[..<decoder.active.upperBound]), options: options)
        try plain.forward()
        #expect(
            try Array(decoder.logits(at: decoder.active.lowerBound))
                == Array(plain.logits(at: decoder.active.lowerBound)))
    }

    /// A forward may be repeated, and a repeated one cancelled, without a trace but in the count.
    @Test(arguments: Run.models) func repeatedForwardsDoNotShow(_ name: String) throws {
        for run in try sample(name, 11) where run.algo == "hf21" {
            let model = try run.model()
            let plain = try model.decoder(prompt: run.prompt, options: run.options)
            let sequence = CachedSequence(model.transformer, blockLength: run.block_length)
            let decoder = try Decoder(
                sequence, maskID: run.mask_id, eosIDs: run.ends, prompt: run.prompt, options: run.options)
            while !decoder.isFinished {
                try plain.step()
                try decoder.forward()
                sequence.observer = Observer(finished: { _ in decoder.cancellation.cancel() })  // in the midst of it
                #expect(throws: LLaDAError(.cancelled, "cancelled by the host")) { try decoder.forward() }
                sequence.observer = nil
                #expect(decoder.phase == .ready)
                #expect(try decoder.predictions == nil)
                try decoder.step()
                #expect(decoder.events == plain.events, "\(run.id)")
            }
            #expect(plain.isFinished && decoder.output == plain.output)
        }
    }

    /// Finished blocks that are edited are not opened again, by a host either.
    @Test func blocksThatAreRevisitedAreNotMasked() throws {
        var run = try #require(
            try Run.all("mini_like").first { $0.algo == "hf21" && $0.gen_length >= 2 * $0.block_length })
        var policy = run.policy
        policy.mbeWindow = 2
        run.override = policy
        let decoder = try run.model().decoder(prompt: run.prompt, options: run.options)
        while !decoder.isEditingBlocks { try decoder.step() }
        try decoder.forward()
        let position = decoder.active.upperBound - 1
        #expect(throws: LLaDAError.self) { try decoder.setProposal([.init(position: position, token: run.mask_id)]) }
        try decoder.setProposal([.init(position: position, token: 3)])
        try decoder.run()
        #expect(!decoder.canvas.contains(run.mask_id))
    }
}
