import Foundation
import LLaDA
import TestSupport
import Testing

/// Packed models in files. More of it is tested from C and Python: Tests/c/model_saving_tests.c and
/// Tests/python/test_saving.py.
@Suite struct PackedFileTests {
    @Test(arguments: Fixture.names, [NumberFormat.bf16, .int8, .int4]) func aSavedModelGivesTheSameBits(
        _ name: String, _ dtype: NumberFormat?
    ) throws {
        let path = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        var options = Model.Options()
        options.dtype = dtype
        options.threads = 2
        let model = try Model(path: try Fixture(name).folder, options: options)
        var told: [Double] = []
        try model.save(to: path) { told.append($0) }
        #expect(told.last == 1 && told == told.sorted())
        let ids = (0..<64).map { Int32($0 * 13 % model.config.vocabSize) }
        let expected = try logits(model, ids, blockLength: 32).map(\.bitPattern)
        options.dtype = nil
        for mapped in [true, false] {
            options.useMmap = mapped
            let again = try Model(path: path, options: options)
            #expect(try logits(again, ids, blockLength: 32).map(\.bitPattern) == expected)
            #expect(again.dtype == model.dtype && again.weightBytes == model.weightBytes)
            // Every matrix that is packed begins at a line of the cache, mapped or not.
            for tensor in again.transformer.weights.tensors where tensor.type == .u8 {
                #expect(tensor.pieces.allSatisfy { Int(bitPattern: $0.baseAddress) % 64 == 0 }, "\(tensor.name)")
            }
        }
        #expect(throws: LLaDAError.self) { try model.save(to: path) }
        #expect(throws: LLaDAError.self) { try model.save(to: path + "\u{0}") }
    }
}
