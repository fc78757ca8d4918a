/// A fingerprint that tells apart models whose states, keys and values do not fit each other: 128 bits over what shapes
/// the computation, over how tensors are held, and over their contents. A model that was packed while it was opened has
/// the same fingerprint as the file it was saved to.
package struct ModelFingerprint: Sendable, Equatable {
    package let words: SIMD2<UInt64>

    package init(words: SIMD2<UInt64>) { self.words = words }

    /// The bytes of a stretch. Small tensors and routers are read whole, and other tensors in some stretches: a large
    /// model has tens of thousands of tensors, and each stretch may be a page to fetch from the disk.
    private static let stretch = 256
    private static let mostStretches = 16  // of a tensor
    private static let usualStretches = 8192  // of all

    /// `absent` has the bytes that are not held here, a stretch or a part of one after the other: of a tensor, the number
    /// of its piece, and how many bytes.
    init(
        _ transformer: Transformer, absent: (HeldTensor, Int, Int) -> UnsafeRawBufferPointer = { _, _, _ in
            UnsafeRawBufferPointer(start: nil, count: 0)
        }
    ) {
        var sum = Checksum()
        func note(_ value: UInt64) { withUnsafeBytes(of: value.littleEndian) { sum.update($0) } }
        func note(_ value: Int) { note(UInt64(bitPattern: Int64(value))) }
        func note(_ value: Double) { note(value.bitPattern) }
        func note(_ text: String) {
            note(text.utf8.count)
            Array(text.utf8).withUnsafeBytes { sum.update($0) }
        }

        let config = transformer.config
        let sizes = [
            config.hiddenSize, config.numHiddenLayers, config.firstKDenseReplace, config.vocabSize,
            config.intermediateSize,
            config.maxPositionEmbeddings, config.numAttentionHeads, config.numKeyValueHeads, config.headDim,
            config.rotaryDim,
            config.numExperts, config.numExpertsPerTok, config.numSharedExperts, config.moeIntermediateSize,
            config.nGroup,
            config.topkGroup, config.moeRouterEnableExpertBias ? 1 : 0, config.expertCapacity,
            config.expertCapacity > 0 ? config.blockSize : 0,
        ]
        sizes.forEach { note($0) }
        for number in [config.rmsNormEps, config.routedScalingFactor] { note(number) }
        let half = transformer.rotary.half
        var angles = [Float](repeating: 0, count: 2 * half)  // cosines, then sines
        for position in [1, 1009] {
            angles.withUnsafeMutableBufferPointer { angles in
                if let base = angles.baseAddress { transformer.rotary.fill(base, base + half, position: position) }
            }
            for angle in angles { note(UInt64(angle.bitPattern)) }
        }
        note(transformer.compute.blas == nil ? 0 : 1)  // OpenBLAS rounds differently
        note(transformer.kvDType.name)

        let tensors = transformer.weights.tensors
        for tensor in tensors {
            note(tensor.name)
            note(tensor.type.rawValue)
            tensor.shape.forEach { note($0) }
        }
        var contents = Checksum()
        Self.forEachStretch(tensors) { tensor, piece, bytes in
            contents.update(tensor.present.contains(piece) ? bytes : absent(tensor, piece, bytes.count))
        }
        words = [sum.value, contents.value]
    }

    /// Calls `body` with each part of a tensor that the fingerprint reads, the number of the piece that it lies in, and
    /// its bytes, which must not be read if the piece is not held.
    package static func forEachStretch(
        _ tensors: [HeldTensor], _ body: (HeldTensor, _ piece: Int, UnsafeRawBufferPointer) -> Void
    ) {
        let stretches = max(1, min(mostStretches, usualStretches / max(tensors.count, 1)))
        for (index, tensor) in tensors.enumerated() {
            let isWhole =
                tensor.shape.count == 1 || tensor.name.hasSuffix(".gate.weight")
                || tensor.byteCount <= stretches * stretch
            if isWhole {
                for (number, piece) in tensor.pieces.enumerated() { body(tensor, number, piece) }
                continue
            }
            // The stretches are evenly spread, and lie elsewhere in each tensor.
            let room = (tensor.byteCount - stretch) / stretches
            let shift = index * 7919 * 64 % max(room, 1)
            for number in 0..<stretches {
                tensor.forEachPart(number * room + shift, stretch) { body(tensor, $0, $1) }
            }
        }
    }
}

extension HeldTensor {
    /// Calls `body` with the `count` bytes from `start` on, piece by piece.
    fileprivate func forEachPart(_ start: Int, _ count: Int, _ body: (Int, UnsafeRawBufferPointer) -> Void) {
        var (start, count) = (start, count)
        for (number, piece) in pieces.enumerated() {
            if count == 0 { return }
            if start < piece.count {
                let end = min(start + count, piece.count)
                body(number, UnsafeRawBufferPointer(rebasing: piece[start..<end]))
                count -= end - start
                start = 0
            } else {
                start -= piece.count
            }
        }
    }
}
