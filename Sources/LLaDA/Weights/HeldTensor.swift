/// A tensor as the weights hold it, under its name in a checkpoint.
package struct HeldTensor: @unchecked Sendable {  // the bytes are never written
    package let name: String
    package let type: SafetensorsType
    package let shape: [Int]
    /// The bytes of the tensor, piece after piece. They are valid as long as the weights are.
    package let pieces: [UnsafeRawBufferPointer]
    /// The pieces whose bytes are held. Of the others, which other ranks of a cluster hold, only the sizes are known.
    package let present: Range<Int>
    /// The expert whose matrix the first piece is; nil if the tensor is of no expert. Each further piece is of the
    /// next.
    package let expert: ExpertID?
    /// The tensor as stored; nil unless weights were only measured.
    package let stored: Tensor?
    /// The name of the format, where the model's own does not tell it: in a model that is held as a GGUF file has it.
    package let format: String?

    package var byteCount: Int { pieces.reduce(0) { $0 + $1.count } }
    package var presentByteCount: Int { pieces[present].reduce(0) { $0 + $1.count } }
}

/// A routed expert of a model.
package struct ExpertID: Sendable, Equatable {
    package let layer: Int
    package let index: Int
}

/// What a rank of a cluster holds of a model.
package struct WeightShare: Sendable {
    /// Whether it holds all that is not a routed expert.
    package let hasCommon: Bool
    /// The experts that it holds of each layer.
    package let experts: [Range<Int>]
    /// The tokens whose rows of the head it holds, besides what is common.
    package let head: Range<Int>

    package init(hasCommon: Bool, experts: [Range<Int>], head: Range<Int> = 0..<0) {
        self.hasCommon = hasCommon
        self.experts = experts
        self.head = head
    }

    /// Returns which of `count` matrices it holds; the first is of `expert`, and of none if that is nil.
    func present(_ count: Int, from expert: ExpertID?) -> Range<Int> {
        guard let expert else { return hasCommon ? 0..<count : 0..<0 }
        let held = experts[expert.layer].clamped(to: expert.index..<expert.index + count)
        return held.lowerBound - expert.index..<held.upperBound - expert.index
    }
}
