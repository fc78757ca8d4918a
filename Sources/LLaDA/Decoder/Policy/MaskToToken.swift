/// Filling masks by confidence (spec: decoding.md, sections 1 and 2). All comparisons are strict, ties go to the lowest
/// position.
enum MaskToToken {
    /// Fills the active masks with confidence > threshold, or, if these are fewer than `atLeast`, that many of the most
    /// confident.
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

    /// LLaDA2.0: how many tokens step `step` of a block has to write at least, of `steps`.
    static func quota(step: Int, steps: Int, blockLength: Int) -> Int {
        blockLength / steps + (step < blockLength % steps ? 1 : 0)
    }
}
