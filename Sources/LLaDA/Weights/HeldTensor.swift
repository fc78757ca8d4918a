/// A tensor as the weights hold it, under the name that it has in a checkpoint.
package struct HeldTensor: @unchecked Sendable {  // the bytes are never written
    package let name: String
    package let type: SafetensorsType
    package let shape: [Int]
    /// One after the other, they are the tensor. Valid as long as the weights are.
    package let pieces: [UnsafeRawBufferPointer]

    package var byteCount: Int { pieces.reduce(0) { $0 + $1.count } }
}
