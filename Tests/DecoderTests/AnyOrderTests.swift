import Foundation
import LLaDA
import TestSupport
import Testing

/// Whatever a host does in whatever order: keys and values that are kept, shared, forked, restored or half computed are
/// never others than those computed anew.
@Suite struct AnyOrderTests {
    private struct Dice: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
            return z ^ z >> 31
        }
        mutating func roll(_ sides: Int) -> Int { Int.random(in: 0..<sides, using: &self) }
    }

    @Test(arguments: 0..<24) func nothingOfItShows(_ seed: Int) throws {
        var dice = Dice(state: UInt64(seed))
        let name = Run.allModels[seed % Run.allModels.count]
        let model = try Run.all(name)[0].model(threads: 2, kvDType: seed % 2 == 0 ? .f32 : .bf16)
        var options = Decoder.Options()
        let hasEdits = name == Run.edits
        options.blockLength = hasEdits ? [8, 16][dice.roll(2)] : [4, 5, 8, 13][dice.roll(4)]
        options.genLength = 20 + dice.roll(30)
        options.infill = dice.roll(3) == 0
        var policy: Policy = [.lowConfidence, .speedy, .quality, .qualityMBE][dice.roll(4)]
        if hasEdits, dice.roll(4) > 0 {
            policy = .levenshtein
            policy.variant = dice.roll(2) == 0 ? .reference : .indel
        }
        if policy.kind == .jointThreshold, dice.roll(2) == 0 { policy.mbeWindow = 1 + dice.roll(3) }
        if dice.roll(3) == 0 { policy.temperature = 0.8 }
        options.policy = policy
        let prompt = (0..<(3 + dice.roll(60))).map { _ in Int32(dice.roll(90)) }

        var plainOptions = options
        plainOptions.useCache = false
        let plain = try model.decoder(prompt: prompt, options: plainOptions)
        let blocks = plain.canvasLength / options.blockLength
        let sizes = try model.prefixCache(maxBytes: 1 << 30)
        var probeOptions = options
        probeOptions.prefixCache = sizes
        let probe = try model.decoder(prompt: [1], options: probeOptions)
        try probe.forward()
        let block = sizes.statistics.bytes
        // Room for one decoder and its window, and for little besides.
        let cache =
            dice.roll(4) == 0
            ? nil
            : try model.prefixCache(maxBytes: (blocks + policy.mbeWindow + dice.roll(6)) * block)
        options.prefixCache = cache
        var decoder = try model.decoder(prompt: prompt, options: options)
        if seed % 3 > 0 { decoder.riding = .always }
        var others: [Decoder] = []

        /// As often as it takes: cancelled, or out of room while others hold it.
        func insist(_ body: (Decoder) throws -> Void) throws {
            var cancels = dice.roll(3)
            while true {
                if cancels > 0 {
                    cancels -= 1
                    let (cancellation, delay) = (decoder.cancellation, dice.roll(600))
                    DispatchQueue.global().async {
                        usleep(UInt32(delay))
                        cancellation.cancel()
                    }
                }
                do { return try body(decoder) } catch let error as LLaDAError where error.status == .cancelled {
                    continue
                } catch let error as LLaDAError where error.status == .outOfMemory && !others.isEmpty {
                    others.removeLast()
                }
            }
        }
        func same(_ what: String) throws {
            var (a, b) = (Trace(), Trace())
            try a.note(decoder)
            try b.note(plain)
            try #require(a.values == b.values, "\(seed): \(what)")
        }

        for _ in 0..<140 {
            switch dice.roll(16) {
            case 0...4 where !plain.isFinished:
                try plain.forward()
                try insist { try $0.forward() }
                try same("forward")
                if dice.roll(3) > 0 {
                    for one in [plain, decoder] { try one.endStep() }
                    try same("apply")
                }
            case 5 where !plain.isFinished, 6 where !plain.isFinished:
                if plain.phase != .ready { try plain.endStep() } else { try plain.step() }
                if decoder.phase != .ready {
                    try decoder.endStep()
                } else {
                    try insist { one in
                        if one.phase != .ready { return }
                        try DecoderBatch.forward([one] + others.filter { $0.phase == .ready })
                    }
                    try decoder.step()
                }
                try same("step")
            case 7 where !plain.isFinished:
                let (position, token) = (dice.roll(plain.canvasLength), Int32(dice.roll(90)))
                for one in [plain, decoder] { try one.setToken(at: position, to: token) }
            case 8:
                let last = plain.isFinished ? blocks : plain.active.upperBound / options.blockLength
                let position = dice.roll(last + 1) * options.blockLength
                let refused = [plain, decoder].map { one in
                    do { try one.truncate(to: position) } catch { return true }
                    return false
                }
                try #require(refused[0] == refused[1])
                try same("truncate")
            case 9:
                let position = dice.roll(plain.canvasLength)
                let isLocked = dice.roll(3) == 0
                for one in [plain, decoder] { try one.lock(at: position, isLocked) }
            case 10:
                let fork = try decoder.fork()
                if dice.roll(2) == 0 {
                    others.append(decoder)
                    decoder = fork
                } else {
                    others.append(fork)
                }
                if others.count > 3 { others.removeFirst() }
            case 11:
                for other in others where !other.isFinished { _ = try? other.step() }
            case 12:
                let bytes = try decoder.snapshot(includingPages: dice.roll(2) == 0)
                others = []
                if dice.roll(2) == 0 { cache?.clear() }
                decoder = try model.restore(bytes, prefixCache: nil)
                if cache != nil, let again = try? model.restore(bytes, prefixCache: cache) {
                    decoder = again
                }
                try same("restore")
            case 13:
                let (token, position) = (Int32(dice.roll(90)), dice.roll(plain.canvasLength))
                for one in [plain, decoder] {
                    try one.ban(token, at: dice.state % 2 == 0 ? nil : position, dice.state % 3 > 0)
                }
                try same("ban")
                let bias = Float(dice.roll(16)) - 4
                let edit: Int32 = (hasEdits ? 120 : 20) + Int32(dice.roll(2))
                for one in [plain, decoder] { try one.setLogitBias(of: edit, at: nil, to: bias) }
                try same("bias")
            case 14 where plain.phase == .forwarded || plain.phase == .proposed:
                for one in [plain, decoder] { one.blockEnds = dice.state % 2 == 0 }
            case 15:
                cache?.clear()
            default: break
            }
        }
        while !plain.isFinished {
            if plain.phase == .ready { try plain.forward() }
            try insist { if $0.phase == .ready { try $0.forward() } }
            for one in [plain, decoder] { try one.endStep() }
            try same("end")
        }
        if let statistics = cache?.statistics { #expect(statistics.bytes <= statistics.maxBytes) }
    }
}

extension Decoder {
    /// What follows a forward.
    fileprivate func endStep() throws {
        if phase == .forwarded { try propose() }
        try apply()
    }
}
