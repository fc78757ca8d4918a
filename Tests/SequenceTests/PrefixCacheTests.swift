import LLaDA
import TestSupport
import Testing

/// The prefix cache: the same bits, less work, within its budget.
@Suite struct PrefixCacheTests {
    private static let blockLength = 8

    private func model() throws -> Model { try Run.all("gqa_group")[0].model(threads: 2) }

    private func options(_ cache: PrefixCache?) -> Decoder.Options {
        var options = Decoder.Options()
        options.blockLength = Self.blockLength
        options.genLength = 24
        options.policy = .speedy
        options.prefixCache = cache
        return options
    }

    private func prompt(_ length: Int, _ seed: Int) -> [Int32] {
        (0..<length).map { Int32(($0 * 7 + $0 / 5 * seed) % 100) }
    }

    private func trace(_ model: Model, _ prompt: [Int32], _ cache: PrefixCache?) throws -> [UInt64] {
        try Trace.rest(of: model.decoder(prompt: prompt, options: options(cache)))
    }

    private func bytesOfABlock(_ model: Model) throws -> Int {
        let cache = try model.prefixCache(maxBytes: 1 << 30)
        let decoder = try model.decoder(prompt: prompt(5, 0), options: options(cache))
        try decoder.forward()
        return cache.statistics.bytes
    }

    @Test func whatWasComputedIsReused() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        let long = prompt(61, 1)
        let plain = try trace(model, long, nil)
        #expect(try trace(model, long, cache) == plain)
        let first = cache.statistics
        #expect(first.reusedTokens == 0 && first.hits == 0 && first.blocks >= 7)

        let again = try model.decoder(prompt: long, options: options(cache))
        try again.forward()
        #expect(again.reusedPositions == 56 && again.computedPositions == 8)
        #expect(try trace(model, long, cache) == plain)
        #expect(cache.statistics.hits >= 2)

        // Another prompt with the same beginning: three blocks of it, and not more.
        var other = long
        other[29] += 1
        let decoder = try model.decoder(prompt: other, options: options(cache))
        try decoder.forward()
        #expect(decoder.reusedPositions == 24)
        #expect(try trace(model, other, cache) == trace(model, other, nil))
    }

    /// A conversation: the answer's blocks are there as well.
    @Test func answersAreReused() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        let decoder = try model.decoder(prompt: prompt(16, 3), options: options(cache))
        try decoder.run()
        let next = Array(decoder.canvas) + prompt(10, 4)
        let follower = try model.decoder(prompt: next, options: options(cache))
        try follower.forward()
        #expect(follower.reusedPositions == decoder.canvasLength)
        #expect(try Trace.rest(of: model.decoder(prompt: next, options: options(cache))) == trace(model, next, nil))
    }

    @Test func theBudgetHolds() throws {
        let model = try model()
        let block = try bytesOfABlock(model)
        let cache = try model.prefixCache(maxBytes: 12 * block + block / 2)
        for seed in 0..<6 {
            let prompt = prompt(50, seed * 3 + 1)
            #expect(try trace(model, prompt, cache) == trace(model, prompt, nil))
            #expect(cache.statistics.bytes <= cache.statistics.maxBytes)
        }
        #expect(cache.statistics.evictedBlocks > 0)
        // What decoders hold is not taken from them: the third finds no room.
        let holders = try (0..<3).map { try model.decoder(prompt: prompt(41, $0 + 50), options: options(cache)) }
        try holders[0].forward()
        try holders[1].forward()
        #expect(throws: LLaDAError.self) { try holders[2].forward() }
        #expect(cache.statistics.bytes <= cache.statistics.maxBytes)
    }

    @Test func refusedDecodersGoOnWhenThereIsRoom() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 10 * bytesOfABlock(model))
        var holder: Decoder? = try model.decoder(prompt: prompt(50, 50), options: options(cache))
        try holder?.forward()
        let waiting = try model.decoder(prompt: prompt(41, 77), options: options(cache))
        #expect(throws: LLaDAError.self) { try waiting.forward() }
        holder = nil
        #expect(try Trace.rest(of: waiting) == trace(model, prompt(41, 77), nil))
    }

    /// A cache that is full of what a decoder holds, and has no more use for, has room for what that decoder does next.
    @Test func theWayBackNeedsNoRoom() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 5 * bytesOfABlock(model))
        let decoder = try model.decoder(prompt: prompt(16, 5), options: options(cache))
        let plain = try model.decoder(prompt: prompt(16, 5), options: options(nil))
        for decoder in [decoder, plain] {
            try decoder.run()
            try decoder.truncate(to: 16)
            try decoder.setToken(at: 3, to: 9)
        }
        #expect(try Trace.rest(of: decoder) == Trace.rest(of: plain))
        #expect(cache.statistics.bytes <= cache.statistics.maxBytes)
    }

    @Test func pinsStay() throws {
        let model = try model()
        let block = try bytesOfABlock(model)
        let cache = try model.prefixCache(maxBytes: 14 * block)
        let system = prompt(24, 9)
        try model.decoder(prompt: system + [1], options: options(cache)).forward()
        #expect(try system.withUnsafeBufferPointer { try cache.pin($0, blockLength: 8) } == 24)
        #expect(cache.statistics.pinnedBlocks == 3)
        for seed in 0..<6 { _ = try trace(model, prompt(50, seed * 3 + 1), cache) }
        cache.clear()
        #expect(cache.statistics.blocks == 3 && cache.statistics.bytes == 3 * block)
        let decoder = try model.decoder(prompt: system + [1], options: options(cache))
        try decoder.forward()
        #expect(decoder.reusedPositions == 24)
        #expect(try system.withUnsafeBufferPointer { try cache.pin($0, blockLength: 8, false) } == 24)
        cache.clear()
        #expect(cache.statistics.blocks == 0)
    }

    /// Unpinning the beginning of what is pinned does not take it from under the rest.
    @Test func whatStandsBeforeAPinStays() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        let long = prompt(40, 9)
        _ = try trace(model, long, cache)
        func pin(_ count: Int, _ isPinned: Bool) throws -> Int {
            try long[..<count].withUnsafeBufferPointer { try cache.pin($0, blockLength: 8, isPinned) }
        }
        #expect(try pin(40, true) == 40 && pin(16, false) == 16)
        #expect(cache.statistics.pinnedBlocks == 3)
        cache.clear()
        #expect(cache.statistics.blocks == 5)
        #expect(try trace(model, long, cache) == trace(model, long, nil))
        #expect(try pin(40, false) == 40)
        cache.clear()
        #expect(cache.statistics.blocks == 0 && cache.statistics.pinnedBlocks == 0 && cache.statistics.bytes == 0)
    }

    /// Block lengths do not mix.
    @Test func blockLengthsKeepApart() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        let ids = prompt(32, 2)
        _ = try trace(model, ids, cache)
        var other = options(cache)
        other.blockLength = 16
        let decoder = try model.decoder(prompt: ids, options: other)
        try decoder.forward()
        #expect(decoder.reusedPositions == 0)
    }

    @Test func anotherModelsCacheIsRefused() throws {
        let cache = try model().prefixCache(maxBytes: 1 << 20)
        let model = try model()
        #expect(throws: LLaDAError.self) { try model.decoder(prompt: [1, 2], options: options(cache)) }
    }

    /// A tree as deep as a long prompt has blocks goes without a deep stack.
    @Test func deepTreesGo() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 30)
        var options = options(cache)
        options.blockLength = 1
        options.genLength = 1
        let length = 3000
        let decoder = try model.decoder(prompt: (0..<length).map { Int32($0 % 90) }, options: options)
        try decoder.forward()
        #expect(cache.statistics.blocks == length)
    }
}
