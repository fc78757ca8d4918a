import Kernels

/// A tensor's bytes in an open checkpoint, row-major, little-endian.
package struct Tensor: @unchecked Sendable {  // the bytes behind `base` are never written
    /// How the bytes are numbers.
    package enum Encoding: Sendable {
        /// Numbers, or bytes, one after another.
        case plain
        /// Blocks of a GGUF file; each row is a whole number of them.
        case blocks(GGUFType)
        /// The rows of several tensors, one tensor after the other. `base` is the address of the first.
        case parts([Tensor])
    }

    package let name: String
    /// The number format; nil if the tensor holds bytes, or numbers in a format that nothing is computed in.
    package let dtype: NumberFormat?
    package let encoding: Encoding
    package let shape: [Int]
    /// The address of the first element. It may be unaligned: the format promises no alignment.
    package let base: UnsafeRawPointer
    package let byteCount: Int
    /// The file behind `base`. Whoever keeps `base` must keep this.
    package let owner: MappedFile

    package init(
        name: String, dtype: NumberFormat?, encoding: Encoding = .plain, shape: [Int], base: UnsafeRawPointer,
        byteCount: Int, owner: MappedFile
    ) {
        self.name = name
        self.dtype = dtype
        self.encoding = encoding
        self.shape = shape
        self.base = base
        self.byteCount = byteCount
        self.owner = owner
    }

    /// The numbers of a row: the last dimension.
    package var width: Int { shape.last ?? 1 }

    /// Writes some rows of a tensor in GGUF's types as f32. The rows of a stack of matrices are counted through.
    /// out: [rows.count, width]
    package func decode(_ rows: Range<Int>, into out: UnsafeMutablePointer<Float>) {
        switch encoding {
        case .plain: break  // no tensor of a GGUF file
        case .blocks(let type): type.decode(base, rows, width: width, into: out)
        case .parts(let parts):
            var first = 0  // the row of the whole at which the part begins
            for part in parts {
                let end = first + part.shape[0]
                let here = rows.clamped(to: first..<end)
                if !here.isEmpty {
                    part.decode(
                        here.lowerBound - first..<here.upperBound - first,
                        into: out + (here.lowerBound - rows.lowerBound) * width)
                }
                first = end
            }
        }
    }
}
