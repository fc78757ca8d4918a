import Kernels

/// The rows of a matrix, or of a stack of matrices, in a checkpoint, of which a tile at a time becomes what is held.
/// Numbers that the kernels do not read are decoded to f32 on the way, never more than a tile of them.
struct StoredRows {
    private let tensor: Tensor
    private let outputs: Int
    private let inputs: Int
    private let fp8: (layout: BlockFP8, scales: Buffer<Float>)?

    /// `scales` are those of a float8 tensor.
    init(_ tensor: Tensor, inputs: Int, outputs: Int, scales: (BlockFP8, Buffer<Float>)?) {
        self.tensor = tensor
        self.outputs = outputs
        self.inputs = inputs
        fp8 = scales
    }

    /// Writes some outputs of a matrix of the stack into their place in `base`, the matrix in its layout. They are a
    /// tile of a packed matrix.  floats: room for [outputs.count, inputs]
    func hold(
        _ rows: Range<Int>, of matrix: Int, as layout: Matrix.Layout, _ floats: UnsafeMutablePointer<Float>,
        _ kernels: llk_kernels, at base: UnsafeMutableRawPointer
    ) {
        switch layout {
        case .rows(let type):
            let place = base + rows.lowerBound * inputs * Matrix.width(of: type)
            if type == LLK_F32 {
                decode(rows, of: matrix, kernels, into: place.assumingMemoryBound(to: Float.self))
            } else {
                decode(rows, of: matrix, kernels, into: floats)
                llk_f32_to_bf16(floats, rows.count * inputs, place.assumingMemoryBound(to: UInt16.self))
            }
        case .packed(let format):
            let packing = llk_get_packed(llk_best_isa(), format).pointee
            let tile = Int(LLK_TILE)
            let index = rows.lowerBound / tile
            if case .blocks(let type) = tensor.encoding, tensor.dtype?.packed == format {
                let from = tensor.base + matrix * outputs * type.rowBytes(inputs)
                llk_pack_blocks(format, from, outputs, inputs, index, index + 1, base)
            } else if let type = tensor.dtype?.rows {
                let from = tensor.base + matrix * outputs * inputs * Matrix.width(of: type)
                packing.pack(from, type, outputs, inputs, index, index + 1, base)
            } else {
                decode(rows, of: matrix, kernels, into: floats)
                let bytes = llk_packed_size(format, tile, inputs)
                packing.pack(floats, LLK_F32, rows.count, inputs, 0, 1, base + index * bytes)
            }
        }
    }

    /// Writes some outputs of a matrix as f32.  out: [rows.count, inputs]
    private func decode(
        _ rows: Range<Int>, of matrix: Int, _ kernels: llk_kernels, into out: UnsafeMutablePointer<Float>
    ) {
        if let type = tensor.dtype?.rows {
            let start = (matrix * outputs + rows.lowerBound) * inputs
            kernels.to_f32(tensor.base + start * Matrix.width(of: type), type, rows.count * inputs, out)
        } else if let fp8 {
            let blocks = fp8.scales.count / (tensor.shape.dropLast(2).reduce(1, *))
            fp8.layout.decode(
                tensor.base + matrix * outputs * inputs, fp8.scales.pointer + matrix * blocks, rows, inputs: inputs,
                into: out)
        } else {
            let first = matrix * outputs
            tensor.decode(first + rows.lowerBound..<first + rows.upperBound, into: out)
        }
    }
}
