import LLaDA
import TestSupport
import Testing

/// What weights hold is what the checkpoint has, under the same names.
@Suite struct HeldTensorTests {
    private func tensors(_ name: String, _ dtype: NumberFormat?) throws -> (model: Model, held: [HeldTensor]) {
        var options = Model.Options()
        options.dtype = dtype
        options.threads = 2
        let model = try Model(path: Fixture.folder(name), options: options)
        return (model, model.transformer.weights.tensors)
    }

    @Test(arguments: Fixture.names) func namesAreTheCheckpoints(_ name: String) throws {
        let stored = try Set(Checkpoint.open(Fixture.folder(name)).unusedTensors)
        for dtype in [nil, .f32, .bf16, .int8, .int4] as [NumberFormat?] {
            let (model, held) = try tensors(name, dtype)
            #expect(Set(held.map(\.name)) == stored && held.count == stored.count)
            #expect(held.reduce(0) { $0 + $1.byteCount } == model.weightBytes)
        }
    }

    /// As stored, every byte is the file's.
    @Test(arguments: Fixture.names) func asStoredBytesAreTheCheckpoints(_ name: String) throws {
        let checkpoint = try Checkpoint.open(Fixture.folder(name))
        let (model, held) = try tensors(name, nil)
        var compared = 0
        for one in held {
            let tensor = try checkpoint.tensor(one.name, shape: one.shape)
            guard one.byteCount == tensor.byteCount else { continue }  // vectors are held in f32
            var stored = [UInt8](repeating: 0, count: tensor.byteCount)
            try stored.withUnsafeMutableBytes { try tensor.read(0, into: $0) }
            #expect(one.pieces.joined().elementsEqual(stored), "\(one.name)")
            compared += 1
        }
        #expect(compared > 10)
        withExtendedLifetime(model) {}
    }

    /// Packed: matrices as bytes in the shape of a saved file, the router and what is small in f32.
    @Test(arguments: [NumberFormat.bf16, .int8, .int4]) func packedMatricesAreBytes(_ dtype: NumberFormat) throws {
        let (_, held) = try tensors("gqa_group", dtype)
        for one in held {
            #expect(one.shape.reduce(1, *) * one.type.bits / 8 == one.byteCount, "\(one.name)")
            let isMatrix = one.name.hasSuffix("_proj.weight") || one.name == "lm_head.weight"
            let isSmall = one.name.contains("norm") || one.name.hasSuffix("gate.weight")
            if isMatrix { #expect(one.type == .u8 && one.shape.count == 3, "\(one.name)") }
            if isSmall { #expect(one.type == .f32, "\(one.name)") }
        }
        #expect(held.contains { $0.type == .u8 } && held.contains { $0.type == .f32 })
    }
}
