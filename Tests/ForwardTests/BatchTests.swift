import Foundation
import Kernels
import LLaDA
import TestSupport
import Testing

/// The forward takes rows of several sequences and blocks at once, and nobody can tell from the results.
@Suite struct BatchTests {
    /// The kernels' tests load OpenBLAS into this process as well; whoever comes first, it is to have one thread.
    init() { setenv("OPENBLAS_NUM_THREADS", "1", 1) }

    /// Runs `batches` of (sequence, block) pairs over fresh pages and returns each sequence's logits.
    private func run(
        _ transformer: Transformer, _ sequences: [[Int32]], blockLength: Int, _ batches: [[(sequence: Int, block: Int)]]
    ) throws -> [[UInt32]] {
        let vocab = transformer.config.vocabSize
        let pages = try sequences.map { tokens in
            try (0..<(tokens.count + blockLength - 1) / blockLength).map { _ in
                try Page(blockLength: blockLength, config: transformer.config, dtype: transformer.kvDType)
            }
        }
        var results = sequences.map { [UInt32](repeating: 0, count: $0.count * vocab) }
        for batch in batches {
            let rows = batch.flatMap { item in
                (item.block * blockLength..<min((item.block + 1) * blockLength, sequences[item.sequence].count)).map {
                    position in
                    Row(
                        sequence: item.sequence, position: position, token: sequences[item.sequence][position],
                        visibleEnd: BlockCausalMask.visibleEnd(
                            of: position, blockLength: blockLength, length: sequences[item.sequence].count),
                        wantsLogits: true)
                }
            }
            let logits = try Buffer<Float>(count: rows.count * vocab)
            let states = try transformer.forward(
                Batch(rows: rows, tables: pages.map { PageTable(pages: $0, blockLength: blockLength) }))
            states.logits(0..<states.count, 0..<vocab, into: logits.pointer, stride: vocab)
            for (index, row) in rows.enumerated() {
                for token in 0..<vocab {
                    results[row.sequence][row.position * vocab + token] =
                        logits.pointer[index * vocab + token].bitPattern
                }
            }
        }
        return results
    }

    @Test(arguments: Fixture.names, [Model.BLAS.off, .on]) func companyDoesNotShow(_ name: String, _ blas: Model.BLAS)
        throws
    {
        var options = Model.Options()
        options.threads = 2
        options.blas = blas
        let model = try Model(path: Fixture(name).folder, options: options)
        #expect((model.transformer.compute.blas != nil) == (blas == .on))
        try expectNoTraceOfCompany(model)
    }

    @Test(arguments: Fixture.names, [NumberFormat.bf16, .int8, .int4]) func norDoesItInPackedFormats(
        _ name: String, _ dtype: NumberFormat?
    ) throws {
        var options = Model.Options()
        options.threads = 2
        options.dtype = dtype
        try expectNoTraceOfCompany(try Model(path: Fixture(name).folder, options: options))
    }

    /// Of each type with matrices that the other usually goes with; in blocks of even and of odd length.
    @Test(arguments: Fixture.names, [NumberFormat.f32, .bf16]) func norOverKeysAndValuesOfEitherType(
        _ name: String, _ type: NumberFormat
    ) throws {
        var options = Model.Options()
        options.threads = 2
        options.dtype = type == .bf16 ? .f32 : .int8
        options.kvDType = type
        let model = try Model(path: Fixture(name).folder, options: options)
        #expect(model.kvDType == type && model.dtype == options.dtype)
        for block in [1, 5, 8, 16] where model.config.expertCapacity == 0 || block % model.config.blockSize == 0 {
            try expectNoTraceOfCompany(model, block: block)
        }
    }

    private func expectNoTraceOfCompany(_ model: Model, block: Int = 8) throws {
        let transformer = model.transformer
        let vocab = Int32(model.config.vocabSize)
        // The last one's last block is cut short.
        let blocks = [5, 3, 4]
        let sequences: [[Int32]] = [
            (0..<Int32(5 * block)).map { ($0 * 7 + 3) % vocab }, (0..<Int32(3 * block)).map { ($0 * 11 + 1) % vocab },
            (0..<Int32(4 * block - block * 3 / 8)).map { ($0 * 5 + 2) % vocab },
        ]
        // One block of one sequence at a time,
        let alone = try run(
            transformer, sequences, blockLength: block,
            (0..<3).flatMap { s in (0..<blocks[s]).map { [(sequence: s, block: $0)] } })
        // all at once,
        let together = try run(
            transformer, sequences, blockLength: block,
            [(0..<3).flatMap { s in (0..<blocks[s]).map { (sequence: s, block: $0) } }])
        // and a mixture of prefill and single blocks, sequences in another order.
        let mixed = try run(
            transformer, sequences, blockLength: block,
            [
                [(2, 0), (2, 1), (0, 0)], [(0, 1), (0, 2), (0, 3), (1, 0)], [(1, 1), (2, 2), (0, 4)], [(2, 3), (1, 2)],
            ].map { $0.map { (sequence: $0.0, block: $0.1) } })
        #expect(alone == together)
        #expect(alone == mixed)
    }

    @Test(arguments: Fixture.names) func openBLASAgrees(_ name: String) throws {
        let fixture = try Fixture(name)
        var options = Model.Options()
        options.blas = .on
        let theirs = try Model(path: fixture.folder, options: options)
        options.blas = .off
        let ours = try Model(path: fixture.folder, options: options)
        let block = ours.config.expertCapacity > 0 ? ours.config.blockSize : 8
        let ids = (0..<64).map { Int32($0 * 13 % ours.config.vocabSize) }
        let difference =
            zip(try logits(theirs, ids, blockLength: block), try logits(ours, ids, blockLength: block))
            .map { abs($0 - $1) }.max() ?? .infinity
        #expect(difference < 2e-4)
    }
}
