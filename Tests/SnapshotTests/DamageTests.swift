import Foundation
import LLaDA
import TestSupport
import Testing

/// Bytes that are no snapshot, or no longer: refused, or at worst a decoder like another, and never a trap.
@Suite struct DamageTests {
    private func decoder(_ blockLength: Int = 4) throws -> Decoder {
        let run = try Run.all("gqa_group")[0]
        var options = run.options
        options.blockLength = blockLength
        options.genLength = 12
        options.eosEarlyStop = true
        var policy = Policy.speedy
        (policy.mbeWindow, policy.penaltyLambda) = (2, 0.25)
        options.policy = policy
        let decoder = try run.model().decoder(prompt: [3, 1, 4, 1, 5], options: options)
        try decoder.step()
        try decoder.setToken(at: 1, to: 9)
        try decoder.ban(7, at: nil, true)
        try decoder.ban(8, at: 6, true)
        try decoder.setLogitBias(of: 9, at: nil, to: 0.5)
        try decoder.setLogitBias(of: 9, at: 7, to: -2)
        try decoder.lock(at: 15, true)
        try decoder.forward()
        try decoder.propose()
        return decoder
    }

    private func model() throws -> Model { try Run.all("gqa_group")[0].model() }

    private func message(_ model: Model, _ bytes: [UInt8]) -> String? {
        do {
            _ = try model.restore(bytes)
            return nil
        } catch {
            #expect(error.status == .snapshot)
            return error.message
        }
    }

    /// With the checksum that these bytes should have.
    private func signed(_ bytes: [UInt8]) -> [UInt8] {
        let sum = bytes.withUnsafeBytes { Checksum.of(UnsafeRawBufferPointer(rebasing: $0.dropLast(8))) }
        return bytes.dropLast(8) + withUnsafeBytes(of: sum.littleEndian) { Array($0) }
    }

    @Test func everyChangedByteIsSeen() throws {
        let (model, bytes) = (try model(), try decoder().snapshot())
        #expect(message(model, bytes) == nil && signed(bytes) == bytes)
        for index in bytes.indices {
            for change in [1, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[index] ^= change
                #expect(message(model, damaged) != nil, "byte \(index) of \(bytes.count)")
            }
        }
    }

    @Test func everyOtherLengthIsSeen() throws {
        let (model, bytes) = (try model(), try decoder().snapshot())
        for count in bytes.indices {
            #expect(message(model, Array(bytes[..<count])) != nil, "\(count) of \(bytes.count)")
        }
        #expect(try #require(message(model, Array(bytes[..<(bytes.count - 1)]))).contains("truncated"))
        #expect(try #require(message(model, bytes + [0])).contains("added to"))
        #expect(message(model, []) != nil)
    }

    @Test func refusalsSayWhatIsWrong() throws {
        let (model, bytes) = (try model(), try decoder().snapshot())
        func changed(_ index: Int, _ value: UInt8) -> [UInt8] {
            var bytes = bytes
            bytes[index] = value
            return signed(bytes)
        }
        #expect(try #require(message(model, Array("not one of ours, but long enough".utf8))).contains("no snapshot"))
        #expect(try #require(message(model, changed(8, 9))).contains("of version 9"))
        #expect(try #require(message(model, changed(12, 2))).contains("a prefix cache; expected a decoder"))
        #expect(try #require(message(model, changed(20, bytes[20] ^ 1))).contains("another model"))
        var damaged = bytes
        damaged[100] ^= 4
        #expect(try #require(message(model, damaged)).contains("checksum"))
    }

    @Test func anotherModelsIsRefused() throws {
        let bytes = try decoder().snapshot()
        func options(_ change: (inout Model.Options) -> Void) throws -> Model {
            var options = Model.Options()
            (options.maskTokenID, options.eosTokenIDs, options.threads) = (127, [126], 1)
            change(&options)
            return try Model(path: Fixture.folder("gqa_group"), options: options)
        }
        #expect(try message(options { _ in }, bytes) == nil)
        #expect(try message(options { $0.useMmap = false }, bytes) == nil)
        #expect(try message(Run.all("mini_like")[0].model(), bytes) != nil)
        #expect(try #require(message(options { $0.dtype = .bf16 }, bytes)).contains("another model"))
        #expect(try #require(message(options { $0.expertCapacity = 6 }, bytes)).contains("another model"))
        #expect(try #require(message(options { $0.eosTokenIDs = [9] }, bytes)).contains("end-of-sequence"))
        #expect(try #require(message(options { $0.maskTokenID = 9 }, bytes)).contains("mask id"))
    }

    /// The fingerprint is that of what is computed: a saved model has that of the one it was saved from, one with a
    /// weight changed another.
    @Test(arguments: [NumberFormat.bf16, .int8, .int4]) func aSavedModelIsTheSame(_ dtype: NumberFormat?) throws {
        let path = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        var options = Model.Options()
        options.dtype = dtype
        let model = try Model(path: Fixture.folder("mini_like"), options: options)
        try model.save(to: path)
        options.dtype = nil
        for mapped in [true, false] {
            options.useMmap = mapped
            #expect(try Model(path: path, options: options).transformer.fingerprint == model.transformer.fingerprint)
        }
    }

    /// Everything that looks something up.
    private func use(_ decoder: Decoder) throws {
        _ = decoder.output
        if let first = try decoder.predictions?.first { _ = try decoder.candidates(at: first, count: 5) }
        for _ in 0..<3 where !decoder.isFinished { try decoder.step() }
        _ = try decoder.snapshot(includingPages: true)
        if decoder.isFinished { try decoder.truncate(to: decoder.canvasLength - decoder.blockLength) }
    }

    /// A checksum can be computed by anyone. The same changes every time.
    @Test func whatIsSignedIsNotTrusted() throws {
        let model = try model()
        var state: UInt64 = 7
        func random(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % count
        }
        let extremes: [UInt64] = [
            0, 1, 2, 4, 127, 255, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, 1 << 63, .max, .max - 1,
        ]
        var restored = 0
        var refused = 0
        for origin in [try decoder(), try decoder(8)] {
            for part in 0..<3 {
                let bytes = try origin.snapshot(includingPages: part == 1)
                if part == 1 { try origin.apply() }
                // The body up to the states of the last forward, where numbers count.
                let end = bytes.count - 8
                for _ in 0..<2500 {
                    var damaged = bytes
                    for _ in 0...random(3) {
                        let limit = random(4) == 0 ? end : min(end, 1200)
                        if random(2) == 0 {
                            damaged[32 + random(limit - 32)] ^= UInt8(1 << random(8))
                        } else {
                            let start = 32 + random(limit - 40)
                            withUnsafeBytes(of: extremes[random(extremes.count)].littleEndian) { value in
                                for (index, byte) in value.enumerated() { damaged[start + index] = byte }
                            }
                        }
                    }
                    do {
                        try use(model.restore(signed(damaged)))
                        restored += 1
                    } catch {
                        refused += 1
                    }
                }
            }
        }
        #expect(restored > 500 && refused > 500)
    }
}
