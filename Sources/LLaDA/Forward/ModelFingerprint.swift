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

    init(_ transformer: Transformer) {
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
        let stretches = max(1, min(Self.mostStretches, Self.usualStretches / max(tensors.count, 1)))
        var contents = Checksum()
        for (index, tensor) in tensors.enumerated() {
            note(tensor.name)
            note(tensor.type.rawValue)
            tensor.shape.forEach { note($0) }
            let isWhole =
                tensor.shape.count == 1 || tensor.name.hasSuffix(".gate.weight")
                || tensor.byteCount <= stretches * Self.stretch
            if isWhole {
                for piece in tensor.pieces { contents.update(piece) }
                continue
            }
            // The stretches are evenly spread, and lie elsewhere in each tensor.
            let room = (tensor.byteCount - Self.stretch) / stretches
            let shift = index * 7919 * 64 % max(room, 1)
            for number in 0..<stretches { tensor.read(number * room + shift, Self.stretch) { contents.update($0) } }
        }
        words = [sum.value, contents.value]
    }
}

extension HeldTensor {
    /// Calls `body` with the `count` bytes from `start` on, piece by piece.
    fileprivate func read(_ start: Int, _ count: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        var (start, count) = (start, count)
        for piece in pieces {
            if count == 0 { return }
            if start < piece.count {
                let end = min(start + count, piece.count)
                body(UnsafeRawBufferPointer(rebasing: piece[start..<end]))
                count -= end - start
                start = 0
            } else {
                start -= piece.count
            }
        }
    }
}
