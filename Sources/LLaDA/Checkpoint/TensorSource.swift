/// A source of what a model is made of: a checkpoint, or something that stands in for one.
package protocol TensorSource: AnyObject {
    /// The path of the source, for messages.
    var directory: String { get }
    var config: ModelConfig { get }
    /// The small files that belong to the weights: the config and the tokenizer.
    var sideFiles: SideFiles { get }
    /// The metadata of the file.
    var metadata: [(key: JSONString, value: JSONString)] { get }
    /// How many bytes lists of all tensors and of their names take, in arrays that double.
    var listSize: Int { get }
    /// The bytes of all tensors.
    var byteCount: Int { get }
    /// What there is to read, for an estimate of memory.
    var memory: SourceMemory { get }
    func has(_ name: String) -> Bool
    /// Returns the tensor of this name, which must have this shape and a type that the engine reads.
    func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor
    /// Returns the tensor of bytes of this name, which must have this shape.
    func bytes(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor
    /// Returns scales of F8_E8M0, one byte each; nil if the scales of this name have another type.
    func exponents(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor?
    /// The first, by name, of the tensors that nobody has asked for yet and that cannot be left out.
    var unusedTensor: String? { get }
    /// What was left out or overlooked, a sentence each. It is complete once all tensors of the model are asked for.
    var notes: [String] { get }
    /// Throws `.io` if one of the files was written to or cut since it was opened.
    func checkUnchanged() throws(LLaDAError)
}

/// The bytes of the files of a source.
package struct SourceMemory: Sendable {
    /// Of the config, the tokenizer and the like.
    package let smallBytes: Int
    /// Of headers and the index of shards.
    package let headerBytes: Int
    /// Of the memory that open files take besides.
    package let openBytes: Int

    package init(smallBytes: Int, headerBytes: Int, openBytes: Int = 0) {
        self.smallBytes = smallBytes
        self.headerBytes = headerBytes
        self.openBytes = openBytes
    }

    /// The bytes that an open source takes.
    package var taken: Int { smallBytes + (1 + MemoryBudget.smallFileMultiple) * headerBytes + openBytes }
}

extension TensorSource {
    package func exponents(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor? { nil }
    package var notes: [String] { [] }
    package func checkUnchanged() throws(LLaDAError) {}
    package var listSize: Int { 0 }
}
