/// A fingerprint that tells apart models whose states, keys and values do not fit each other: 128 bits over what shapes
/// the computation, over how tensors are held, and over their contents. A model that was packed while it was opened has
/// the same fingerprint as the file it was saved to.
package struct ModelFingerprint: Sendable, Equatable {
    package let words: SIMD2<UInt64>

    package init(words: SIMD2<UInt64>) { self.words = words }

    /// `absent` has the bytes that are not held here.
    init(_ transformer: Transformer, absent: AbsentStretches? = nil) {
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
        var stretches = FingerprintStretches(tensors)
        while let part = stretches.next() {
            if part.isHeld {
                contents.update(part.bytes)
            } else if let absent {
                contents.update(absent.next(part))
            }
        }
        words = [sum.value, contents.value]
    }
}
