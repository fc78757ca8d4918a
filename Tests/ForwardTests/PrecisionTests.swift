import Foundation
import Kernels
import LLaDA
import TestSupport
import Testing

/// Packed formats and pools of experts. What they cost is measured on trained models:
/// Tests/python/test_trained_models.py.
@Suite struct PrecisionTests {
    /// The same bits whatever the number of threads.
    @Test(arguments: [NumberFormat.bf16, .int8, .int4]) func threadsDoNotShow(_ dtype: NumberFormat?) throws {
        var options = Model.Options()
        options.dtype = dtype
        let all = try [1, 2, 3].map { threads in
            options.threads = threads
            let model = try Model(path: try Fixture("gqa_group").folder, options: options)
            return try logits(model, (0..<48).map { Int32($0 * 5 % 120) }, blockLength: 16).map(\.bitPattern)
        }
        #expect(all[0] == all[1] && all[0] == all[2])
    }

    /// Keys and values in bf16 change little, and what they cannot be is refused.
    @Test(arguments: Fixture.names) func keysAndValuesInBF16AreNear(_ name: String) throws {
        let folder = try Fixture(name).folder
        var options = Model.Options()
        let exact = try Model(path: folder, options: options)
        options.kvDType = .bf16
        let model = try Model(path: folder, options: options)
        #expect(exact.kvDType == .f32 && model.kvDType == .bf16 && model.dtype == nil)
        let ids = (0..<61).map { Int32($0 * 13 % model.config.vocabSize) }  // its last block is cut short
        let block = model.config.expertCapacity > 0 ? model.config.blockSize : 8
        let ours = try logits(model, ids, blockLength: block), theirs = try logits(exact, ids, blockLength: block)
        let size = (theirs.reduce(0) { $0 + $1 * $1 } / Float(theirs.count)).squareRoot()
        let off = (zip(ours, theirs).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Float(theirs.count))
            .squareRoot()
        print("\(name): logits are \(off / size) off")
        #expect(off > 0 && off < 0.02 * size)
        for dtype in [NumberFormat.f16, .int4] {
            options.kvDType = dtype
            #expect(throws: LLaDAError.self) { _ = try Model(path: folder, options: options) }
        }
    }

    /// So do those in int8, over several tiles of keys, whatever is cached, and whatever the number of threads.
    @Test func keysAndValuesInInt8AreNear() throws {
        let folder = try Fixture("gqa_group").folder
        var options = Model.Options()
        let ids = (0..<611).map { Int32($0 * 13 % 120) }
        let theirs = try logits(Model(path: folder, options: options), ids, blockLength: 8)
        options.kvDType = .int8
        let ours = try [1, 3].map { threads in
            options.threads = threads
            return try logits(Model(path: folder, options: options), ids, blockLength: 8)
        }
        #expect(ours[0].map(\.bitPattern) == ours[1].map(\.bitPattern))
        // Of the row in the middle: in some, another expert is chosen.
        let off = (0..<ids.count).map { row in
            let places = row * 128..<(row + 1) * 128
            let size = places.reduce(0) { $0 + theirs[$1] * theirs[$1] }
            return (places.reduce(0) { $0 + (ours[0][$1] - theirs[$1]) * (ours[0][$1] - theirs[$1]) } / size)
                .squareRoot()
        }.sorted()[ids.count / 2]
        print("int8: logits are \(off) off")
        #expect(off > 0 && off < 0.05)
    }

    @Test func packedModelsHoldThemInBF16() throws {
        let folder = try Fixture("gqa_group").folder
        var options = Model.Options()
        for (dtype, expected) in [
            (NumberFormat?.none, NumberFormat.f32), (.f32, .f32), (.bf16, .bf16), (.int8, .bf16), (.int4, .bf16),
        ] {
            options.dtype = dtype
            let model = try Model(path: folder, options: options)
            #expect(model.dtype == dtype && model.kvDType == expected)
        }
    }

    /// A pool of all experts is the group-free routing of 2.2; a smaller one changes what is computed, and touches no
    /// more.
    @Test func expertCapacityBoundsTheExpertsOfABlock() throws {
        let folder = try Fixture("gqa_group").folder
        var options = Model.Options()
        let k = try Model(path: folder).config.numExpertsPerTok
        for capacity in [k, k + 2] {
            options.expertCapacity = capacity
            let model = try Model(path: folder, options: options)
            let sequence = CachedSequence(model.transformer, blockLength: 32)
            var used: [Int: [Set<Int32>]] = [:]  // by layer, of each block
            sequence.observer = Observer(routing: { layer, _, routing in
                used[layer] = [0, 32].map { Set(routing.experts[$0 * routing.k..<($0 + 32) * routing.k]) }
            })
            let ids = (0..<64).map { Int32($0 * 13 % model.config.vocabSize) }
            try ids.withUnsafeBufferPointer { try sequence.prepare($0, active: 0..<64, asOneBlock: false).run() }
            #expect(!used.isEmpty)
            for experts in used.values.joined() { #expect(experts.count <= capacity) }
        }
        options.expertCapacity = k - 1
        #expect(throws: LLaDAError.self) { _ = try Model(path: folder, options: options) }
    }
}
