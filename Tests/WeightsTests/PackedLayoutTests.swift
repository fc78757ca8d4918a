import Kernels
import LLaDA
import Testing

/// The sizes that packed.h promises: files of saved models have them.
@Suite struct PackedLayoutTests {
    private static let shapes = [(1, 1), (64, 64), (65, 33), (3, 200), (130, 96), (2048, 512)]

    @Test(arguments: [
        (NumberFormat.bf16, 8192), (.int8, 4224), (.int4, 2 * 1152), (.q8_0, 2 * 2176), (.q4_0, 2 * 1152),
    ])
    func aMatrixIsTilesOfBlocks(_ dtype: NumberFormat, _ bytesOfABlock: Int) throws {
        let format = try #require(dtype.packed)
        for (outputs, inputs) in Self.shapes {
            let (tiles, blocks) = ((outputs + 63) / 64, (inputs + 63) / 64)
            let size = Matrix.byteCount(.packed(format), outputs: outputs, inputs: inputs)
            #expect(size == tiles * blocks * bytesOfABlock)
            #expect(PackedFile.shape(format, outputs: outputs, inputs: inputs) == [tiles, blocks, bytesOfABlock])
        }
    }

    @Test func rowsAreAsWideAsTheirNumbers() {
        for (outputs, inputs) in Self.shapes {
            for (dtype, width) in [(LLK_F32, 4), (LLK_F16, 2), (LLK_BF16, 2)] {
                #expect(
                    Matrix.byteCount(.rows(dtype), outputs: outputs, inputs: inputs) == outputs * inputs * width)
            }
        }
    }

    /// Formats in which nothing is computed have no layout, and "as stored" is rows.
    @Test func layoutsFollowFormats() {
        #expect(NumberFormat.f8E4M3.rows == nil && NumberFormat.f8E4M3.packed == nil)
        #expect(Matrix.Layout(nil, stored: LLK_BF16) == .rows(LLK_BF16))
        #expect(Matrix.Layout(.f32, stored: LLK_BF16) == .rows(LLK_F32))
        #expect(Matrix.Layout(.bf16, stored: LLK_F32) == .packed(LLK_PACKED_BF16))
        #expect(Matrix.Layout(.int4, stored: LLK_F32) == .packed(LLK_PACKED_INT4))
        #expect(NumberFormat.int4.ofAllTokens == .int8 && NumberFormat.bf16.ofAllTokens == .bf16)
        #expect(Matrix.Layout(.q8_0, stored: LLK_F32) == .packed(LLK_PACKED_Q8_0))
        #expect(NumberFormat.q4_0.rows == nil && NumberFormat.q4_0.ofAllTokens == .q4_0)
    }
}
