import Foundation
import Kernels
import LLaDA
import Testing

/// Packed formats and pools of experts. What they cost is measured on trained models: Tests/python/test_trained_models.py.
@Suite struct PrecisionTests {
    /// The same bits whatever the number of threads.
    @Test(arguments: [Model.DType.bf16, .int8, .int4]) func threadsDoNotShow(_ dtype: Model.DType) throws {
        var options = Model.Options()
        options.dtype = dtype
        let all = try [1, 2, 3].map { threads in
            options.threads = threads
            let model = try Model(path: try Fixture("gqa_group").folder, options: options)
            return try logits(model, (0..<48).map { Int32($0 * 5 % 120) }, blockLength: 16).map(\.bitPattern)
        }
        #expect(all[0] == all[1] && all[0] == all[2])
    }

    /// A pool of all experts is the group-free routing of 2.2; a smaller one changes what is computed, and touches no more.
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
            _ = try ids.withUnsafeBufferPointer { try sequence.forward($0, active: 0..<64, asOneBlock: false) }
            #expect(!used.isEmpty)
            for experts in used.values.joined() { #expect(experts.count <= capacity) }
        }
        options.expertCapacity = k - 1
        #expect(throws: LLaDAError.self) { _ = try Model(path: folder, options: options) }
    }
}
