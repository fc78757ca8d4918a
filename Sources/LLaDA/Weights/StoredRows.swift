import Kernels

/// The rows of a matrix, or of a stack of matrices, in a checkpoint, of which a tile at a time becomes what is held.
/// Numbers that the kernels do not read are decoded to f32 on the way, never more than a tile of them.
struct StoredRows {
    private let tensor: Tensor
    private let outputs: Int
    private let inputs: Int
    private let fp8: (layout: BlockFP8, scales: Buffer<Float>)?
    private let firstMatrix: Int
    private let matrices: Int

    /// `scales` are those of a float8 tensor, of all `matrices` of a stack, of which `tensor` has some, from
    /// `firstMatrix` on.
    init(
        _ tensor: Tensor, inputs: Int, outputs: Int, scales: (BlockFP8, Buffer<Float>)?, firstMatrix: Int, matrices: Int
    ) {
        self.firstMatrix = firstMatrix
        self.matrices = matrices
        self.tensor = tensor
        self.outputs = outputs
        self.inputs = inputs
        fp8 = scales
    }

    /// The room that `hold` needs for the bytes of a row.
    var rowBytes: Int { tensor.rowBytes }

    /// Reads some outputs of a matrix of the stack, and writes them into their place in `base`, the matrix in its
    /// layout. They are a tile of a packed matrix.  stored: room for [outputs.count] of `rowBytes`;
    /// floats: room for [outputs.count, inputs]
    func hold(
        _ rows: Range<Int>, of matrix: Int, as layout: Matrix.Layout, _ stored: UnsafeMutableRawPointer,
        _ floats: UnsafeMutablePointer<Float>, _ kernels: llk_kernels, at base: UnsafeMutableRawPointer
    ) throws(LLaDAError) {
        switch layout {
        case .rows(let type):
            let place = base + rows.lowerBound * inputs * Matrix.width(of: type)
            if type == LLK_F32 {
                try decode(rows, of: matrix, stored, kernels, into: place.assumingMemoryBound(to: Float.self))
            } else {
                try decode(rows, of: matrix, stored, kernels, into: floats)
                llk_f32_to_bf16(floats, rows.count * inputs, place.assumingMemoryBound(to: UInt16.self))
            }
        case .packed(let format):
            let packing = llk_get_packed(KernelChoice.isa, format).pointee
            let tile = Int(LLK_TILE)
            let place = base + rows.lowerBound / tile * llk_packed_size(format, tile, inputs)
            if case .blocks = tensor.encoding, tensor.dtype?.packed == format {
                try read(rows, of: matrix, into: stored)
                llk_pack_blocks(format, stored, rows.count, inputs, 0, 1, place)
            } else if let type = tensor.dtype?.rows {
                try read(rows, of: matrix, into: stored)
                packing.pack(stored, type, rows.count, inputs, 0, 1, place)
            } else {
                try decode(rows, of: matrix, stored, kernels, into: floats)
                packing.pack(floats, LLK_F32, rows.count, inputs, 0, 1, place)
            }
        }
    }

    /// Reads some outputs of a matrix as stored.
    private func read(
        _ rows: Range<Int>, of matrix: Int, into stored: UnsafeMutableRawPointer
    ) throws(LLaDAError) {
        let first = matrix * outputs
        try tensor.read(first + rows.lowerBound..<first + rows.upperBound, into: stored)
    }

    /// Writes some outputs of a matrix as f32.  out: [rows.count, inputs]
    private func decode(
        _ rows: Range<Int>, of matrix: Int, _ stored: UnsafeMutableRawPointer, _ kernels: llk_kernels,
        into out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        if let type = tensor.dtype?.rows {
            try read(rows, of: matrix, into: stored)
            kernels.to_f32(stored, type, rows.count * inputs, out)
        } else if let fp8 {
            try read(rows, of: matrix, into: stored)
            let blocks = fp8.scales.count / matrices
            fp8.layout.decode(
                stored, fp8.scales.pointer + (firstMatrix + matrix) * blocks, rows, inputs: inputs, into: out)
        } else {
            let first = matrix * outputs
            try tensor.decode(first + rows.lowerBound..<first + rows.upperBound, stored: stored, into: out)
        }
    }
}
