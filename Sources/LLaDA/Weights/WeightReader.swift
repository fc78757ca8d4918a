import Kernels

/// Takes tensors from a checkpoint, checks their shapes and holds them as the caller wants them.
struct WeightReader {
    let checkpoint: Checkpoint
    /// Nil: each as stored, in place.
    let dtype: llk_dtype?
    private(set) var parameters = 0
    private(set) var bytes = 0

    private static var kernels: llk_kernels { llk_get(llk_best_isa()).pointee }

    init(_ checkpoint: Checkpoint, dtype: llk_dtype?) {
        self.checkpoint = checkpoint
        self.dtype = dtype
    }

    mutating func matrix(_ name: String, outputs: Int, inputs: Int) throws(LLaDAError) -> Matrix {
        try matrices(name, shape: [outputs, inputs], outputs: outputs, inputs: inputs)[0]
    }

    /// A stack of `count` matrices in one tensor: [count, outputs, inputs], as dFactory merges experts.
    mutating func stack(_ name: String, count: Int, outputs: Int, inputs: Int) throws(LLaDAError) -> [Matrix] {
        try matrices(name, shape: [count, outputs, inputs], outputs: outputs, inputs: inputs)
    }

    mutating func vector(_ name: String, count: Int) throws(LLaDAError) -> Vector {
        let tensor = try checkpoint.tensor(name, shape: [count])
        let buffer = try Buffer<Float>(count: count)
        Self.kernels.to_f32(tensor.base, tensor.type.stored, count, buffer.pointer)
        withExtendedLifetime(tensor.owner) {}
        parameters += count
        bytes += count * 4
        return Vector(buffer)
    }

    private mutating func matrices(
        _ name: String, shape: [Int], outputs: Int, inputs: Int
    ) throws(LLaDAError) -> [Matrix] {
        let tensor = try checkpoint.tensor(name, shape: shape)
        let elements = shape.reduce(1, *)  // cannot overflow: the tensor has this many
        let type = dtype ?? tensor.type.stored
        var base = tensor.base
        var owner: AnyObject = tensor.owner
        if type != tensor.type.stored {
            (base, owner) = try Self.convert(tensor, elements, to: type)
        }
        let size = outputs * inputs
        parameters += elements
        bytes += elements * Matrix.width(of: type)
        return (0..<elements / size).map { index in
            Matrix(base: base + index * size * Matrix.width(of: type), type: type, outputs: outputs, inputs: inputs, owner: owner)
        }
    }

    private static func convert(
        _ tensor: Tensor, _ count: Int, to type: llk_dtype
    ) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject) {
        defer { withExtendedLifetime(tensor.owner) {} }
        if type == LLK_F32 {
            let buffer = try Buffer<Float>(count: count)
            kernels.to_f32(tensor.base, tensor.type.stored, count, buffer.pointer)
            return (UnsafeRawPointer(buffer.pointer), buffer)
        }
        let buffer = try Buffer<UInt16>(count: count)
        let piece = 4096
        let floats = try Buffer<Float>(count: piece)
        defer { withExtendedLifetime(floats) {} }
        let width = Matrix.width(of: tensor.type.stored)
        for start in stride(from: 0, to: count, by: piece) {
            let n = min(piece, count - start)
            kernels.to_f32(tensor.base + start * width, tensor.type.stored, n, floats.pointer)
            llk_f32_to_bf16(floats.pointer, n, buffer.pointer + start)
        }
        return (UnsafeRawPointer(buffer.pointer), buffer)
    }
}

extension TensorType {
    var stored: llk_dtype {
        switch self {
        case .f32: LLK_F32
        case .f16: LLK_F16
        case .bf16: LLK_BF16
        }
    }
}
