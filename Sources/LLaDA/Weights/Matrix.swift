import Kernels

/// A weight matrix in the layout of the kernels: [outputs, inputs].
package struct Matrix: @unchecked Sendable {  // never written after it is made
    package enum Layout: Sendable, Equatable {
        /// Row-major. Activations are f32.
        case rows(llk_dtype)
        /// Tiles of 64 outputs (packed.h). Activations are rounded to match the format.
        case packed(llk_format)
    }

    /// What activations become before they are multiplied. Matrices with the same kind take the same operand.
    package enum Activations: Sendable {
        case floats, bf16, integers
    }

    package let base: UnsafeRawPointer
    package let layout: Layout
    package let outputs: Int
    package let inputs: Int
    /// The owner of `base`: a mapped file, or memory of the library.
    let owner: AnyObject

    package init(base: UnsafeRawPointer, layout: Layout, outputs: Int, inputs: Int, owner: AnyObject) {
        self.base = base
        self.layout = layout
        self.outputs = outputs
        self.inputs = inputs
        self.owner = owner
    }

    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: Self.byteCount(layout, outputs: outputs, inputs: inputs))
    }

    /// Asks the system for what of the matrix lies in a mapped file and is not in memory, and does not wait for it.
    package func readAhead() { (owner as? FileMapping)?.readAhead(bytes) }

    package static func byteCount(_ layout: Layout, outputs: Int, inputs: Int) -> Int {
        switch layout {
        case .rows(let type): outputs * inputs * width(of: type)
        case .packed(let format): llk_packed_size(format, outputs, inputs)
        }
    }

    package var activations: Activations {
        switch layout {
        case .rows: .floats
        case .packed(LLK_PACKED_BF16): .bf16
        case .packed: .integers
        }
    }

    package static func width(of type: llk_dtype) -> Int { type == LLK_F32 ? 4 : 2 }
}

/// A small weight vector, held in f32.
package struct Vector: @unchecked Sendable {  // never written after it is made
    private let buffer: Buffer<Float>

    package init(_ buffer: Buffer<Float>) { self.buffer = buffer }

    package var base: UnsafePointer<Float> { UnsafePointer(buffer.pointer) }
    package var count: Int { buffer.count }
}

/// A table of vectors, for look-ups: [count, width].
package struct Table: @unchecked Sendable {  // never written after it is made
    private enum Content {
        case rows(llk_dtype)
        case blocks(GGUFType)
    }

    private let base: UnsafeRawPointer
    private let content: Content
    private let width: Int
    private let owner: AnyObject

    /// Makes a table of a row-major matrix.
    init(base: UnsafeRawPointer, type: llk_dtype, width: Int, owner: AnyObject) {
        self.base = base
        content = .rows(type)
        self.width = width
        self.owner = owner
    }

    /// Makes a table in blocks, which are decoded at each look-up.
    init(base: UnsafeRawPointer, blocks type: GGUFType, width: Int, owner: AnyObject) {
        self.base = base
        content = .blocks(type)
        self.width = width
        self.owner = owner
    }

    /// Writes the vector at `index` as f32.  out: [width]
    func read(_ index: Int, _ kernels: llk_kernels, into out: UnsafeMutablePointer<Float>) {
        switch content {
        case .rows(let type): kernels.to_f32(base + index * width * Matrix.width(of: type), type, width, out)
        case .blocks(let type): type.decode(base, index..<index + 1, width: width, into: out)
        }
    }
}
