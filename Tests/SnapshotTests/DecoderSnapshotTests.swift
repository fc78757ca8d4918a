import Foundation
import LLaDA
import TestSupport
import Testing

/// Decoders as bytes, on the conformance models and the policies of their runs.
@Suite struct DecoderSnapshotTests {
    private func sample(_ name: String, _ offset: Int, _ every: Int = 97) throws -> [Run] {
        let runs = try Run.all(name)
        return stride(from: offset, to: runs.count, by: every).map { runs[$0] }
    }

    /// Of one run: bytes taken at points of it, and what was to come.
    private struct Course {
        var trace = Trace()
        var taken: [(bytes: [UInt8], hasPages: Bool, at: Int, computed: Int)] = []
        let decoder: Decoder

        /// Whether blocks ride is decided by the time that forwards take, which is not the same in two models.
        init(_ decoder: Decoder) {
            self.decoder = decoder
            decoder.riding = .always
        }

        mutating func take() throws {
            for hasPages in [false, true] {
                let bytes = try decoder.snapshot(includingPages: hasPages)
                taken.append((bytes, hasPages, trace.values.count, decoder.computedPositions))
            }
        }

        /// At every step and between any two parts of it; `interfere` comes after propose.
        mutating func run(interfere: (Decoder) throws -> Void = { _ in }) throws {
            while !decoder.isFinished {
                try take()
                try decoder.forward()
                try take()
                try decoder.propose()
                try interfere(decoder)
                try take()
                try decoder.apply()
                try trace.note(decoder)
            }
            try take()
            try trace.note(decoder)
        }

        /// The course goes on in `model`, opened anew.
        func check(_ model: Model, _ id: String, interfere: (Decoder) throws -> Void = { _ in }) throws {
            for (index, (bytes, hasPages, at, computed)) in taken.enumerated() {
                let restored = try model.restore(bytes)
                restored.riding = .always
                #expect(try restored.snapshot(includingPages: hasPages) == bytes, "\(id)")
                #expect(restored.computedPositions == 0)
                var rest = Trace()
                while !restored.isFinished {
                    if restored.phase == .ready { try restored.forward() }
                    if restored.phase == .forwarded {
                        try restored.propose()
                        try interfere(restored)
                    }
                    try restored.apply()
                    try rest.note(restored)
                }
                try rest.note(restored)
                #expect(
                    Array(restored.stepMap) == Array(decoder.stepMap) && restored.finishReason == decoder.finishReason)
                #expect(rest.values == Array(trace.values[at...]), "\(id), \(index)")
                // With pages nothing is computed that the saved decoder did not compute.
                if hasPages {
                    #expect(restored.computedPositions == decoder.computedPositions - computed, "\(id), \(index)")
                }
            }
        }
    }

    @Test(arguments: Run.allModels) func aRestoredDecoderGoesTheSameWay(_ name: String) throws {
        for run in try sample(name, 5, name == Run.edits ? 31 : 97) {
            var course = Course(try run.decoder(run.model()))
            try course.run()
            try course.check(run.model(threads: 2), run.id)
        }
    }

    @Test func windowsAndDrawsAsWell() throws {
        for (index, var run) in try sample("mini_like", 3, 83).enumerated() {
            var policy = Policy(.jointThreshold)
            policy.mbeWindow = 1 + index % 3
            policy.mbeRounds = 2
            policy.temperature = index % 2 == 0 ? 0.9 : 0
            policy.topK = index % 4 == 0 ? 20 : 0
            policy.penaltyLambda = index % 2 == 0 ? 0 : 0.5
            policy.seed = UInt64.max - UInt64(index)
            run.override = policy
            var course = Course(try run.model().decoder(prompt: run.prompt, options: run.options))
            try course.run()
            try course.check(run.model(), run.id)
        }
    }

    /// Rows that have not run for some steps have K/V, states and predictions of different forwards.
    @Test(arguments: Run.allModels) func rowsThatAreKeptAsWell(_ name: String) throws {
        let refreshes = [Policy.Refresh(), .init(below: 0.9, exact: false), .init(changed: 2, below: 0.5, every: 3)]
        for (index, var run) in try sample(name, 7, 61).enumerated() {
            var policy = run.policy
            policy.refresh = refreshes[index % refreshes.count]
            if policy.kind == .jointThreshold, index % 4 == 1 { policy.mbeWindow = 2 }
            if index % 5 == 3 { policy.temperature = 0.8 }
            run.override = policy
            var course = Course(try run.decoder(run.model()))
            try course.run()
            try course.check(run.model(threads: 2), run.id)
        }
    }

    /// Bans, locks and edits that wait for the next events.
    @Test func whatTheHostDidIsKept() throws {
        for run in try sample("gqa_group", 11) {
            var course = Course(try run.model().decoder(prompt: run.prompt, options: run.options))
            let interfere = { (decoder: Decoder) in
                let forwards = decoder.forwards
                let last = decoder.active.upperBound - 1
                try decoder.ban(Int32(forwards % 20), at: forwards % 2 == 0 ? nil : last, true)
                try decoder.setLogitBias(of: Int32(forwards % 30), at: forwards % 2 == 0 ? last : nil, to: 0.25)
                try decoder.propose()
                if decoder.states[last] != Decoder.PositionState.prompt.rawValue {
                    try decoder.setToken(at: last, to: Int32(30 + forwards % 5))
                    try decoder.lock(at: last, forwards % 3 != 0)
                }
                if forwards % 4 == 1 { try decoder.disableExpert(forwards % 3, layer: 1) }
                if forwards % 3 == 1 { decoder.blockEnds = forwards % 2 == 0 }
            }
            try course.run(interfere: interfere)
            try course.check(run.model(), run.id, interfere: interfere)
        }
    }

    /// Logits and candidates of the forward before, in the midst of a step and after it.
    @Test(arguments: [nil, NumberFormat.bf16, .int8, .int4]) func theLastForwardIsKept(_ dtype: NumberFormat?) throws {
        var options = Model.Options()
        options.dtype = dtype
        options.threads = 2
        (options.maskTokenID, options.eosTokenIDs) = (127, [126])
        let model = try Model(path: Fixture.folder("gqa_group"), options: options)
        let run = try #require(try Run.all("gqa_group").first { $0.algo == "hf21" && $0.block_length == 8 })
        let decoder = try model.decoder(prompt: run.prompt, options: run.options)
        try decoder.ban(5, at: nil, true)
        try decoder.step()
        try decoder.forward()
        for _ in 0..<2 {
            let other = try Model(path: Fixture.folder("gqa_group"), options: options).restore(decoder.snapshot())
            let first = try #require(try decoder.predictions).first
            for position in first..<first + 8 {
                #expect(try Array(other.logits(at: position)) == Array(decoder.logits(at: position)))
                #expect(try other.candidates(at: position, count: 9) == decoder.candidates(at: position, count: 9))
            }
            #expect(other.events == decoder.events && other.phase == decoder.phase)
            if decoder.phase == .forwarded {
                try other.ban(7, at: first + 2, true)
                let twin = try decoder.fork()
                try twin.ban(7, at: first + 2, true)
                #expect(try Trace.rest(of: other) == Trace.rest(of: twin))
                try decoder.propose()
                try decoder.apply()
            }
        }
    }

    /// What a prefix cache has of the pages is not held twice; what it has not, it gets.
    @Test func pagesAreShared() throws {
        let run = try Run.all("gqa_group")[0]
        let model = try run.model()
        var options = run.options
        options.blockLength = 8
        options.genLength = 16
        let prompt = (0..<40).map { Int32($0 % 90) }
        let decoder = try model.decoder(prompt: prompt, options: options)
        try decoder.step()
        let bytes = try decoder.snapshot(includingPages: true)
        #expect(try bytes.count > decoder.snapshot().count)
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        let rest = try Trace.rest(of: decoder)
        let first = try model.restore(bytes, prefixCache: cache)
        #expect(try Trace.rest(of: first) == rest)
        #expect(cache.statistics.blocks >= 5 && first.reusedPositions == 0)
        let held = cache.statistics.bytes
        let second = try model.restore(bytes, prefixCache: cache)
        #expect(second.reusedPositions == 40 && cache.statistics.bytes == held)
        #expect(try Trace.rest(of: second) == rest)
        // A budget that cannot hold them says so.
        let small = try model.prefixCache(maxBytes: 100)
        #expect(throws: LLaDAError.self) { try model.restore(bytes, prefixCache: small) }
    }

    @Test func aFileIsWholeOrNotThere() throws {
        let run = try Run.all("mini_like")[0]
        let decoder = try run.model().decoder(prompt: run.prompt, options: run.options)
        try decoder.step()
        let folder = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for hasPages in [false, true, false] {
            try decoder.save(to: folder + "/one", includingPages: hasPages)
            let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: folder + "/one")))
            #expect(try bytes == decoder.snapshot(includingPages: hasPages))
        }
        #expect(throws: LLaDAError.self) { try decoder.save(to: folder) }
        #expect(throws: LLaDAError.self) { try decoder.save(to: folder + "/no/where") }
        #expect(throws: LLaDAError.self) { try decoder.save(to: folder + "/a\u{0}") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["one"])
        let rest = try Trace.rest(of: run.model().restore(file: folder + "/one"))
        #expect(try rest == Trace.rest(of: decoder))
        #expect(throws: LLaDAError.self) { try run.model().restore(file: folder) }
        #expect(throws: LLaDAError.self) { try run.model().restore(file: folder + "/two") }
    }
}
