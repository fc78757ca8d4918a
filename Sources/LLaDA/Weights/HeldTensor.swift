/// A tensor as the weights hold it, under its name in a checkpoint.
package struct HeldTensor: @unchecked Sendable {  // the bytes are never written
    package let name: String
    package let type: SafetensorsType
    package let shape: [Int]
    /// The bytes of the tensor, piece after piece. They are valid as long as the weights are.
    package let pieces: [UnsafeRawBufferPointer]
    /// The name of the format, where the model's own does not tell it: in a model that is held as a GGUF file has it.
    package let format: String?

    package var byteCount: Int { pieces.reduce(0) { $0 + $1.count } }
}
