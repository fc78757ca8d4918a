import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct PageTests {
    private static let blockLengths = [1, 4, 5, 8]

    /// Two layers, three heads; of even and of odd size.
    private func config(headDim: Int) throws -> ModelConfig {
        let fields: [String: Any] = [
            "model_type": "llada2_moe", "hidden_size": 24, "num_hidden_layers": 2, "first_k_dense_replace": 2,
            "vocab_size": 96, "intermediate_size": 8, "num_attention_heads": 6, "num_key_value_heads": 3,
            "head_dim": headDim, "partial_rotary_factor": 4 / Double(headDim),
        ]
        let text = try JSONSerialization.data(withJSONObject: fields)
        return try ModelConfig(try JSON.parse(Array(text), file: "config.json"))
    }

    /// Another number at each place, no two of them equal in bf16 either: bf16 has 7 bits of fraction.
    private struct Numbers {
        private var next = 0

        mutating func vector(_ count: Int) -> [Float] {
            (0..<count).map { _ in
                defer { next += 1 }
                return Float(128 + next % 128) * Float(sign: .plus, exponent: next / 128 - 40, significand: 1)
            }
        }
    }

    /// Writes every slot of a page and hands `body` what was written where.
    private func filled(
        _ page: Page, _ config: ModelConfig, _ body: (_ layer: Int, _ head: Int, _ slot: Int, [Float], [Float]) -> Void
    ) {
        var numbers = Numbers()
        var written: [(layer: Int, head: Int, slot: Int, key: [Float], value: [Float])] = []
        for layer in 0..<config.numHiddenLayers {
            for head in 0..<config.numKeyValueHeads {
                for slot in 0..<page.blockLength {
                    let (key, value) = (numbers.vector(config.headDim), numbers.vector(config.headDim))
                    page.write(key, value, layer: layer, head: head, slot: slot)
                    written.append((layer, head, slot, key, value))
                }
            }
        }
        // Only now: a place that two share would hold the later one.
        for one in written { body(one.layer, one.head, one.slot, one.key, one.value) }
    }

    @Test(arguments: blockLengths, [5, 8]) func floatsStandWhereTheLayoutSays(_ blockLength: Int, _ headDim: Int)
        throws
    {
        let config = try config(headDim: headDim)
        let page = try Page(blockLength: blockLength, config: config, dtype: .f32)
        #expect(page.bytes.count == 2 * 3 * 2 * blockLength * headDim * 4)
        filled(page, config) { layer, head, slot, key, value in
            let (keys, values) = (page.keys(layer: layer, head: head), page.values(layer: layer, head: head))
            for index in 0..<headDim {
                #expect(keys[index * blockLength + slot] == key[index])
                #expect(values[slot * headDim + index] == value[index])
            }
        }
    }

    @Test(arguments: blockLengths, [5, 8]) func halvesStandInPairs(_ blockLength: Int, _ headDim: Int) throws {
        let config = try config(headDim: headDim)
        let page = try Page(blockLength: blockLength, config: config, dtype: .bf16)
        let (pairsOfKeys, pairsOfValues) = ((headDim + 1) / 2 * blockLength, (blockLength + 1) / 2 * headDim)
        #expect(page.bytes.count == 2 * 3 * (pairsOfKeys + pairsOfValues) * 4)
        func number(_ half: UInt16) -> Float { Float(bitPattern: UInt32(half) << 16) }
        filled(page, config) { layer, head, slot, key, value in
            let keys = page.halfKeys(layer: layer, head: head)
            let values = page.halfValues(layer: layer, head: head)
            for index in 0..<headDim {
                #expect(number(keys[2 * (index / 2 * blockLength + slot) + index % 2]) == key[index])
                #expect(number(values[2 * (slot / 2 * headDim + index) + slot % 2]) == value[index])
            }
        }
    }

    @Test(arguments: blockLengths, [5, 8]) func bytesStandInQuads(_ blockLength: Int, _ headDim: Int) throws {
        let config = try config(headDim: headDim)
        let page = try Page(blockLength: blockLength, config: config, dtype: .int8)
        let quads = (headDim + 3) / 4 * blockLength + (blockLength + 3) / 4 * headDim
        #expect(page.bytes.count == 2 * 3 * (4 * quads + 12 * blockLength))
        filled(page, config) { layer, head, slot, key, value in
            let bytes = page.bytes(layer: layer, head: head)
            let (keys, values) = (bytes.piece.keys!, bytes.piece.values!)
            let (most, largest) = (key.map(abs).max()!, max(value.map(abs).max()!, 127 * 0x1p-24))
            #expect(bytes.piece.key_scales[slot] == most / 127)
            #expect(
                1 / bytes.inverses[slot] >= largest / 127 * 0.9999 && 1 / bytes.inverses[slot] < largest / 127 * 1.1)
            for index in 0..<headDim {
                let byte = Int(keys[4 * (index / 4 * blockLength + slot) + index % 4]) - 128
                #expect(abs(Float(byte) * most / 127 - key[index]) <= 0.501 * most / 127)
                let number = Float(values[4 * (slot / 4 * headDim + index) + slot % 4])
                #expect(abs(number / bytes.inverses[slot] - value[index]) <= 0.501 / bytes.inverses[slot])
            }
        }
    }

    /// To nearest, ties to even.
    @Test func halvesAreRounded() throws {
        let config = try config(headDim: 8)
        let page = try Page(blockLength: 1, config: config, dtype: .bf16)
        let bits: [UInt32] = [
            0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF, 0xBF80_8001, 0x7F7F_FFFF, 0x0000_8001, 0x8000_0000,
        ]
        let expected: [UInt16] = [0x3F80, 0x3F82, 0x3F81, 0x3F80, 0xBF81, 0x7F80, 0x0001, 0x8000]
        let vector = bits.map(Float.init(bitPattern:))
        page.write(vector, vector, layer: 1, head: 2, slot: 0)
        let (keys, values) = (page.halfKeys(layer: 1, head: 2), page.halfValues(layer: 1, head: 2))
        #expect((0..<8).map { keys[$0 / 2 * 2 + $0 % 2] } == expected)
        #expect((0..<8).map { values[2 * $0] } == expected)
    }

    /// The second halves of odd last pairs are written by nobody, and go into snapshots.
    @Test(arguments: [(5, 8), (4, 5), (1, 5)]) func whatIsNeverWrittenIsZero(_ blockLength: Int, _ headDim: Int) throws
    {
        for dtype in [NumberFormat.bf16, .int8] {
            let page = try Page(blockLength: blockLength, config: try config(headDim: headDim), dtype: dtype)
            #expect(page.bytes.allSatisfy { $0 == 0 })
        }
    }
}
