import Foundation
import LLaDA
import TestSupport
import Testing

/// Steps over a part of a block's rows (spec: decoding.md, section 9).
@Suite struct RefreshTests {
    /// What a model that reads only tokens would do, written down anew: keys are the tokens that rows last ran with.
    private struct Reference {
        let policy: Policy
        let block: Int
        let answer: ([Int32], Int) -> (Int32, Float)
        var canvas: [Int32]
        var keys: [Int32]
        var (forwards, rows) = (0, 0)

        init(
            _ policy: Policy, prompt: [Int32], block: Int, genLength: Int,
            answer: @escaping ([Int32], Int) -> (Int32, Float)
        ) {
            (self.policy, self.block, self.answer) = (policy, block, answer)
            let count = (prompt.count + genLength + block - 1) / block * block
            canvas = prompt + Array(repeating: mask, count: count - prompt.count)
            keys = Array(repeating: -1, count: count)
            var isExact = true
            for start in stride(from: prompt.count / block * block, to: count, by: block) {
                isExact = decode(start..<start + block, prompt.count, isExact)
            }
        }

        /// Returns whether the keys of the block are those of one forward over its final tokens.
        private mutating func decode(_ active: Range<Int>, _ promptLength: Int, _ wasExact: Bool) -> Bool {
            guard let refresh = policy.refresh else { return true }
            var changed = [Int](repeating: -1000, count: block)
            var predictions = [(token: Int32, confidence: Float)](repeating: (0, 0), count: block)
            var (step, post, isExact) = (0, 0, true)
            while true {
                let masks = active.filter { canvas[$0] == mask }
                if policy.kind == .lowConfidence, masks.isEmpty { break }
                for position in active where step > 0 && keys[position] != canvas[position] {
                    changed[position - active.lowerBound] = step
                }
                var run = active.filter { position in
                    let row = position - active.lowerBound
                    return canvas[position] == mask || step - changed[row] < refresh.changed
                        || (position >= promptLength && predictions[row].confidence < refresh.below)
                }
                let isFull = step == 0 || refresh.every > 0 && step % refresh.every == 0 || run.isEmpty
                if isFull { run = Array(active) }
                if step == 0 {
                    // The block before, if its keys are of no use.
                    let before = max(0, active.lowerBound - block)..<active.lowerBound
                    let isStale = before.contains { keys[$0] != canvas[$0] }
                    if active.lowerBound >= block, forwards > 0, isStale || (refresh.exact && !wasExact) {
                        for position in before { keys[position] = canvas[position] }
                        rows += block
                    } else if forwards == 0 {
                        for position in 0..<active.lowerBound { keys[position] = canvas[position] }
                        rows += active.lowerBound
                    }
                }
                for position in run { keys[position] = canvas[position] }
                rows += run.count
                forwards += 1
                isExact = isFull
                for position in run {
                    predictions[position - active.lowerBound] = answer(Array(keys[..<active.upperBound]), position)
                }
                func prediction(_ position: Int) -> (token: Int32, confidence: Float) {
                    predictions[position - active.lowerBound]
                }
                let sure = masks.filter { prediction($0).confidence > policy.threshold }
                let quota =
                    policy.kind == .lowConfidence ? block / policy.steps + (step < block % policy.steps ? 1 : 0) : 1
                var written = sure
                if !masks.isEmpty, sure.count < quota {
                    let best = masks.sorted {
                        let (a, b) = (prediction($0).confidence, prediction($1).confidence)
                        return a != b ? a > b : $0 < $1
                    }
                    written = Array(best.prefix(quota))
                }
                if policy.kind == .jointThreshold {
                    written += active.filter { position in
                        canvas[position] != mask && position >= promptLength
                            && prediction(position).confidence > policy.editingThreshold
                            && prediction(position).token != canvas[position]
                    }
                }
                for position in written { canvas[position] = prediction(position).token }
                step += 1
                if policy.kind == .jointThreshold {
                    if masks.isEmpty { post += 1 }
                    if masks.isEmpty && written.isEmpty { break }
                    if !active.contains(where: { canvas[$0] == mask }), post >= policy.maxPostSteps { break }
                }
            }
            return isExact && active.allSatisfy { keys[$0] == canvas[$0] }
        }
    }

    /// Any model of tokens: what it says hangs on all that it sees.
    private static func answer(_ seed: UInt64, _ seen: [Int32], _ position: Int) -> (Int32, Float) {
        var hash = seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(position)
        // Near tokens, so that some rows settle while others move.
        for place in max(0, position - 2)..<min(seen.count, position + 3) {
            hash = (hash ^ UInt64(UInt32(bitPattern: seen[place]))) &* 0x0000_0100_0000_01B3
            hash ^= hash >> 29
        }
        let sure: [Float] = [0.3, 0.55, 0.62, 0.8, 0.93, 0.97, 0.995, 0.998]
        // No two rows are as sure as each other.
        return (Int32(hash >> 8 & 7), sure[Int(hash >> 40 & 7)] - Float(position) * 2e-5)
    }

    private static let refreshes = [
        Policy.Refresh(), .init(exact: false), .init(below: 0.99, exact: false), .init(below: 0.9),
        .init(changed: 2, below: 0.7), .init(changed: 2, every: 3), .init(every: 2, exact: false),
        .init(changed: 3, below: 0.99, every: 4),
    ]

    @Test(arguments: 0..<48) func whatRunsIsWhatTheRuleSays(_ seed: Int) throws {
        var policy = [Policy.lowConfidence, .speedy, .quality][seed % 3]
        if policy.kind == .jointThreshold { policy.maxPostSteps = 4 + seed % 5 }
        policy.refresh = Self.refreshes[seed / 3 % Self.refreshes.count]
        let script = try Script(vocabSize: 16) { seen, position, _ in
            let (token, sure) = Self.answer(UInt64(seed), seen, position)
            return (token, Double(sure))
        }
        let prompt = [Int32](repeating: 9, count: 1 + seed % 13)
        let reference = Reference(policy, prompt: prompt, block: 8, genLength: 40) {
            Self.answer(UInt64(seed), $0, $1)
        }
        for riding in [Decoder.Riding.never, .always] {
            let decoder = try decoder(script, prompt: prompt, blockLength: 8, genLength: 40, policy)
            decoder.riding = riding
            try decoder.run()
            #expect(Array(decoder.canvas) == reference.canvas, "\(policy)")
            #expect(decoder.forwards == reference.forwards)
            if riding == .never { #expect(decoder.computedPositions == reference.rows, "\(policy)") }
        }
        // The same where every other forward is stopped in its midst and done again, at times by a fork.
        var decoder = try decoder(script, prompt: prompt, blockLength: 8, genLength: 40, policy)
        decoder.riding = .never
        var (asked, stops, copied) = (seed, 0, 0)
        script.isStopped = {
            asked += 1
            return asked % 2 == 0
        }
        while !decoder.isFinished {
            guard try isStopped({ () throws(LLaDAError) in try decoder.step() }) else { continue }
            stops += 1
            if stops % 3 == 0 {
                copied += decoder.computedPositions
                decoder = try decoder.fork()
            }
        }
        #expect(stops > 4)
        #expect(Array(decoder.canvas) == reference.canvas, "\(policy)")
        #expect(decoder.forwards == reference.forwards)
        #expect(copied + decoder.computedPositions == reference.rows, "\(policy)")
    }

    /// Whether a call was ended by a request to cancel. Throws its other errors.
    private func isStopped(_ body: () throws(LLaDAError) -> Void) throws -> Bool {
        do throws(LLaDAError) {
            try body()
            return false
        } catch {
            guard error.status == .cancelled else { throw error }
            return true
        }
    }

    private func sample(_ name: String, _ every: Int = 31) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: 2, to: runs.count, by: every).enumerated().map { index, place in
            var run = runs[place]
            var policy = run.policy
            policy.refresh = Self.refreshes[index % Self.refreshes.count]
            if index % 3 == 1 { policy.temperature = 0.7 }
            if index % 4 == 2, policy.kind == .jointThreshold { policy.mbeWindow = 2 }
            run.override = policy
            return run
        }
    }

    private func trace(_ decoder: Decoder) throws -> [UInt64] {
        var trace = Trace()
        while !decoder.isFinished {
            try trace.step(decoder)
            trace.values += decoder.computed.map { $0 ? 1 : 0 }
        }
        try trace.note(decoder)
        return trace.values
    }

    /// Equal inputs give equal bits: threads, riders, company, a look at everything.
    @Test(arguments: Run.allModels) func nothingElseShows(_ name: String) throws {
        let runs = try sample(name)
        let model = try runs[0].model(threads: 1)
        let alone = try runs.map { run in
            let decoder = try run.decoder(model)
            decoder.riding = .never
            return try trace(decoder)
        }
        let other = try runs[0].model(threads: 3)
        let decoders = try runs.enumerated().map { index, run in
            let decoder = try run.decoder(other)
            decoder.riding = index % 2 == 0 ? .always : .whereItPays
            if index % 3 == 0 { try decoder.watch(routing: true, hidden: true) }
            return decoder
        }
        var traces = runs.map { _ in Trace() }
        while decoders.contains(where: { !$0.isFinished }) {
            let working = decoders.indices.filter { !decoders[$0].isFinished }
            try DecoderBatch.step(working.map { decoders[$0] })
            for index in working {
                try traces[index].note(decoders[index])
                traces[index].values += decoders[index].computed.map { $0 ? 1 : 0 }
            }
        }
        for index in runs.indices {
            try traces[index].note(decoders[index])
            #expect(traces[index].values == alone[index], "\(runs[index].id)")
        }
        #expect(
            try zip(runs, decoders).contains { run, decoder in
                var plain = run
                plain.override?.refresh = nil
                let full = try plain.decoder(model)
                try full.run()
                return decoder.computedPositions < full.computedPositions
            })
    }

    /// A forward that is stopped and done again, by a fork or from a snapshot as well, goes the same way.
    @Test(arguments: Run.allModels) func stopsAndCopiesDoNotShow(_ name: String) throws {
        for run in try sample(name, 47) {
            let model = try run.model(threads: 2)
            let plain = try trace(run.decoder(model))
            var decoder = try run.decoder(model)
            var trace = Trace()
            var (steps, stops) = (0, 0)
            while !decoder.isFinished {
                steps += 1
                if steps % 3 == 0 { decoder = try decoder.fork() }
                if steps % 2 == 0 {
                    let (cancellation, delay) = (decoder.cancellation, UInt32(steps % 7 * 60))
                    DispatchQueue.global().async {
                        usleep(delay)
                        cancellation.cancel()
                    }
                }
                while try isStopped({ () throws(LLaDAError) in try decoder.forward() }) {
                    stops += 1
                    if stops % 3 == 1 {
                        decoder = try model.restore(decoder.snapshot(includingPages: true))
                    } else if stops % 3 == 2 {
                        decoder = try decoder.fork()
                    }
                }
                try trace.step(decoder)
                trace.values += decoder.computed.map { $0 ? 1 : 0 }
            }
            try trace.note(decoder)
            #expect(trace.values == plain, "\(run.id)")
        }
    }

    /// A prefix cache has K/V of whole forwards: who finds them there does not see where they come from.
    @Test func aPrefixCacheTakesExactBlocks() throws {
        for run in try sample("gqa_group", 23) where run.policy.temperature == 0 {
            let model = try run.model(threads: 2)
            let cache = try model.prefixCache(maxBytes: 1 << 24)
            let first = try run.decoder(model) { $0.prefixCache = cache }
            try first.run()
            var after = run
            after.override?.refresh = nil
            let prompt = Array(first.canvas.prefix(first.settledLength)).map { $0 == run.mask_id ? 1 : $0 }
            var options = after.options
            options.genLength = 16
            options.prefixCache = cache
            let found = try model.decoder(prompt: prompt, options: options)
            options.prefixCache = nil
            let alone = try model.decoder(prompt: prompt, options: options)
            #expect(try Trace.rest(of: found) == Trace.rest(of: alone), "\(run.id)")
        }
    }

    @Test func aDecoderWithoutCacheCannotRefresh() throws {
        let run = try Run.all("gqa_group")[0]
        let model = try run.model()
        var options = run.options
        options.policy = .speedyRefresh
        options.useCache = false
        #expect(throws: LLaDAError.self) { try model.decoder(prompt: run.prompt, options: options) }
    }
}
