import Kernels

/// A weight matrix, ready for the kernels: [outputs, inputs], row-major, in the type it is held in.
package struct Matrix: @unchecked Sendable {  // never written after it is made
    package let base: UnsafeRawPointer
    package let type: llk_dtype
    package let outputs: Int
    package let inputs: Int
    /// Keeps `base` valid: the mapped file, or a buffer of our own.
    private let owner: AnyObject

    package init(base: UnsafeRawPointer, type: llk_dtype, outputs: Int, inputs: Int, owner: AnyObject) {
        self.base = base
        self.type = type
        self.outputs = outputs
        self.inputs = inputs
        self.owner = owner
    }

    package static func width(of type: llk_dtype) -> Int { type == LLK_F32 ? 4 : 2 }

    package var byteCount: Int { outputs * inputs * Self.width(of: type) }

    /// Row `index` as stored: [inputs].
    package func row(_ index: Int) -> UnsafeRawPointer { base + index * inputs * Self.width(of: type) }
}

/// A small weight vector, held in f32.
package struct Vector: @unchecked Sendable {  // never written after it is made
    private let buffer: Buffer<Float>

    package init(_ buffer: Buffer<Float>) { self.buffer = buffer }

    package var base: UnsafePointer<Float> { UnsafePointer(buffer.pointer) }
    package var count: Int { buffer.count }
}
