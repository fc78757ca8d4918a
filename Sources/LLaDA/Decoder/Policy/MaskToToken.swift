/// Mask-to-token: filling masks by confidence (spec: decoding.md, sections 1 and 2). All comparisons are strict, and
/// ties go to the lowest position.
enum MaskToToken {
    /// Returns edits of the active masks with confidence > threshold, or, if these are fewer than `atLeast`, of that
    /// many of the most confident.
    static func edits(_ state: DecoderState, threshold: Float, atLeast: Int) -> [Decoder.Edit] {
        let masks = state.openMasks
        if masks.isEmpty { return [] }
        let confidence = state.predictions.confidence(at:)
        let high = masks.filter { confidence($0) > threshold }
        if high.count >= atLeast { return high.map { state.edit(at: $0, .threshold) } }
        let ranked = masks.sorted { a, b in
            let (first, second) = (confidence(a), confidence(b))
            return first != second ? first > second || (second.isNaN && !first.isNaN) : a < b
        }
        return ranked.prefix(atLeast).map { state.edit(at: $0, .fallback) }
    }

    /// Returns how many tokens step `step` of a block must write at least, of `steps` steps (LLaDA2.0).
    static func quota(step: Int, steps: Int, blockLength: Int) -> Int {
        blockLength / steps + (step < blockLength % steps ? 1 : 0)
    }
}
