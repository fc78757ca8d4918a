import Foundation
import LLaDA
import TestSupport
import Testing

/// The prefix cache in a file: what was computed in one process is not computed in the next.
@Suite final class PrefixCacheSnapshotTests {
    private let path = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
    private static let blockLength = 8

    deinit { try? FileManager.default.removeItem(atPath: path) }

    private func model() throws -> Model { try Run.all("gqa_group")[0].model() }

    private func decoder(_ model: Model, _ prompt: [Int32], _ cache: PrefixCache?, blockLength: Int = 8) throws
        -> Decoder
    {
        var options = Decoder.Options()
        options.blockLength = blockLength
        options.genLength = 16
        options.policy = .speedy
        options.prefixCache = cache
        return try model.decoder(prompt: prompt, options: options)
    }

    private func prompt(_ length: Int, _ seed: Int) -> [Int32] {
        (0..<length).map { Int32(($0 * 7 + $0 / 5 * seed) % 100) }
    }

    /// Two conversations with one beginning, the second used last; another block length besides.
    private func filled(_ model: Model) throws -> PrefixCache {
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        try decoder(model, prompt(24, 1) + prompt(17, 2), cache).run()
        try decoder(model, prompt(24, 1) + prompt(26, 3), cache).run()
        try decoder(model, prompt(33, 1), cache, blockLength: 16).run()
        _ = try prompt(24, 1).withUnsafeBufferPointer { try cache.pin($0, blockLength: 8) }
        _ = try prompt(16, 1).withUnsafeBufferPointer { try cache.pin($0, blockLength: 8) }
        return cache
    }

    @Test func whatWasComputedIsThere() throws {
        let first = try model()
        let saved = try filled(first)
        try saved.save(to: path)
        let second = try model()
        let cache = try second.prefixCache(maxBytes: 1 << 24)
        let count = try cache.load(from: path)
        #expect(cache.statistics.blocks == saved.statistics.blocks && cache.statistics.bytes == saved.statistics.bytes)
        #expect(cache.statistics.pinnedBlocks == 3 && count > 8 * cache.statistics.blocks)
        for prompt in [prompt(24, 1) + prompt(17, 2), prompt(24, 1) + prompt(26, 3)] {
            let decoder = try decoder(second, prompt, cache)
            try decoder.forward()
            #expect(decoder.reusedPositions == prompt.count / 8 * 8)
            let plain = try self.decoder(second, prompt, nil)
            #expect(try Trace.rest(of: self.decoder(second, prompt, cache)) == Trace.rest(of: plain))
        }
        let other = try decoder(second, prompt(33, 1), cache, blockLength: 16)
        try other.forward()
        #expect(other.reusedPositions == 32)
        // Pins are counted: twice for the first two blocks.
        #expect(try prompt(24, 1).withUnsafeBufferPointer { try cache.pin($0, blockLength: 8, false) } == 24)
        #expect(cache.statistics.pinnedBlocks == 2)
    }

    @Test func whatIsThereStays() throws {
        let model = try model()
        try filled(model).save(to: path)
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        try decoder(model, prompt(24, 1) + prompt(17, 2), cache).run()
        let before = cache.statistics
        let count = try cache.load(from: path)
        #expect(count > 0 && cache.statistics.blocks > before.blocks)
        #expect(try cache.load(from: path) == 0)  // all is there
        #expect(cache.statistics.pinnedBlocks == 3)
        cache.clear()
        #expect(cache.statistics.blocks == 3)
        #expect(try cache.load(from: path) > 0)
    }

    /// Pinned blocks first, then those used last; what is cached is not given away for them.
    @Test func aSmallBudgetLoadsWhatMattersMost() throws {
        let model = try model()
        let saved = try filled(model)
        try saved.save(to: path)
        // Three or more are of 16 tokens: this is too small, at worst.
        let block = saved.statistics.bytes / (saved.statistics.blocks + 3)
        var last = 0
        for maxBytes in stride(from: block, through: saved.statistics.bytes, by: block) {
            let cache = try model.prefixCache(maxBytes: maxBytes)
            let count = try cache.load(from: path)
            #expect(cache.statistics.bytes <= maxBytes && count >= last)
            #expect(cache.statistics.pinnedBlocks == min(3, cache.statistics.blocks))
            last = count
        }
        let cache = try model.prefixCache(maxBytes: saved.statistics.bytes)
        let own = try decoder(model, prompt(40, 90), cache)
        try own.forward()
        let held = cache.statistics.blocks
        _ = try cache.load(from: path)
        #expect(cache.statistics.blocks > held && cache.statistics.bytes <= cache.statistics.maxBytes)
        #expect(cache.statistics.evictedBlocks == 0)
    }

    @Test func anEmptyOneIsOneAsWell() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 20)
        try cache.save(to: path)
        #expect(try cache.load(from: path) == 0)
    }

    @Test func whatIsNoCacheIsRefused() throws {
        let model = try model()
        let cache = try model.prefixCache(maxBytes: 1 << 24)
        try decoder(model, [1, 2, 3], nil).save(to: path)
        #expect(throws: LLaDAError.self) { try cache.load(from: path) }
        try filled(model).save(to: path)
        #expect(throws: LLaDAError.self) {
            try Run.all("mini_like")[0].model().prefixCache(maxBytes: 1 << 24).load(from: path)
        }
        #expect(throws: LLaDAError.self) { try model.restore(file: path) }
        #expect(throws: LLaDAError.self) { try cache.load(from: path + "x") }
    }

    /// Bytes changed, the checksum with them: refused or loaded, and then of use. The same changes every time.
    @Test func whatIsSignedIsNotTrusted() throws {
        let model = try model()
        try filled(model).save(to: path)
        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
        var state: UInt64 = 3
        func random(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % count
        }
        let extremes: [UInt64] = [0, 1, 7, 8, 16, 127, 128, 1 << 31, 1 << 62, 1 << 63, .max]
        var (loaded, refused) = (0, 0)
        for round in 0..<1500 {
            var damaged = bytes
            for _ in 0...random(2) {
                let start = 32 + random(900)
                if round % 2 == 0 {
                    damaged[start] ^= UInt8(1 << random(8))
                } else {
                    withUnsafeBytes(of: extremes[random(extremes.count)].littleEndian) { value in
                        for (index, byte) in value.enumerated() { damaged[start + index] = byte }
                    }
                }
            }
            let sum = damaged.withUnsafeBytes { Checksum.of(UnsafeRawBufferPointer(rebasing: $0.dropLast(8))) }
            damaged.replaceSubrange((damaged.count - 8)..., with: withUnsafeBytes(of: sum.littleEndian) { Array($0) })
            try Data(damaged).write(to: URL(fileURLWithPath: path))
            let cache = try model.prefixCache(maxBytes: 1 << 24)
            do {
                _ = try cache.load(from: path)
                try decoder(model, prompt(24, 1) + prompt(26, 3), cache).step()
                loaded += 1
            } catch {
                refused += 1
                #expect(cache.statistics.bytes == 0)
            }
        }
        #expect(loaded > 100 && refused > 100)
    }
}
