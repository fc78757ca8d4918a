/// The bytes of tensors that a fingerprint reads. Small tensors and routers are read whole, and other tensors in some
/// stretches: a large model has tens of thousands of tensors, and each stretch may be a page to fetch from the disk.
package struct FingerprintStretches {
    private static let length = 256
    private static let most = 16  // of a tensor
    private static let usual = 8192  // of all

    /// A stretch, or the part of one that lies in one piece of a tensor.
    package struct Part {
        package let tensor: HeldTensor
        package let piece: Int
        /// They must not be read if the piece is not held here.
        package let bytes: UnsafeRawBufferPointer

        package var isHeld: Bool { tensor.present.contains(piece) }
        /// The expert that the piece is of; nil if it is of none.
        package var expert: ExpertID? { tensor.expert.map { ExpertID(layer: $0.layer, index: $0.index + piece) } }
    }

    private let tensors: [HeldTensor]
    private let stretches: Int  // of a tensor that is not read whole
    private var tensor = -1
    private var isWhole = true
    // The stretch: its number, the piece that it has come to, where it goes on there, and what is left of it.
    private var number = 0
    private var piece = 0
    private var start = 0
    private var left = 0

    package init(_ tensors: [HeldTensor]) {
        self.tensors = tensors
        stretches = max(1, min(Self.most, Self.usual / max(tensors.count, 1)))
    }

    /// Returns the next part, in the order of the tensors; nil after the last.
    package mutating func next() -> Part? {
        while true {
            while left > 0 {
                let bytes = tensors[tensor].pieces[piece]
                piece += 1
                if start >= bytes.count {
                    start -= bytes.count
                    continue
                }
                let end = min(start + left, bytes.count)
                let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                left -= part.count
                start = 0
                return Part(tensor: tensors[tensor], piece: piece - 1, bytes: part)
            }
            if tensor >= 0, !isWhole, number + 1 < stretches {
                number += 1
            } else {
                tensor += 1
                if tensor == tensors.count { return nil }
                number = 0
            }
            begin(tensors[tensor])
        }
    }

    private mutating func begin(_ one: HeldTensor) {
        let size = one.byteCount
        isWhole = one.shape.count == 1 || one.name.hasSuffix(".gate.weight") || size <= stretches * Self.length
        piece = 0
        // The stretches are evenly spread, and lie elsewhere in each tensor.
        let room = max(size - Self.length, 0) / stretches
        start = isWhole ? 0 : number * room + tensor * 7919 * 64 % max(room, 1)
        left = isWhole ? size : Self.length
    }
}

/// The bytes of a fingerprint that the other ranks of a cluster hold, from each rank one after the other.
package final class AbsentStretches {
    private let placement: ExpertPlacement
    private let bytes: [UnsafeRawBufferPointer]  // by rank
    private var places: [Int]  // by rank

    /// `bytes` are by rank, and stay; those of rank 0 are not used.
    package init(_ placement: ExpertPlacement, _ bytes: [UnsafeRawBufferPointer]) {
        self.placement = placement
        self.bytes = bytes
        places = Array(repeating: 0, count: bytes.count)
    }

    /// Returns the bytes of a part: fewer, if the rank has sent fewer.
    func next(_ part: FingerprintStretches.Part) -> UnsafeRawBufferPointer {
        let rank = part.expert.map { placement.rank(of: $0.index, layer: $0.layer) } ?? 0
        let start = places[rank]
        let end = min(start + part.bytes.count, bytes[rank].count)
        places[rank] = end
        return UnsafeRawBufferPointer(rebasing: bytes[rank][start..<end])
    }
}
