/// Mask-to-token: filling masks by confidence (spec: decoding.md, sections 1 and 2). All comparisons are strict, and
/// ties go to the lowest position.
enum MaskToToken {
    /// Adds edits of the active masks with confidence > threshold, or, if these are fewer than `atLeast`, of that
    /// many of the most confident.
    static func propose(_ state: DecoderState, threshold: Float, atLeast: Int, _ edits: inout [Decoder.Edit]) {
        let first = edits.count
        for position in state.active where state.canvas.isOpenMask(position) {
            if state.predictions.confidence(at: position) > threshold {
                edits.append(state.edit(at: position, .threshold))
            }
        }
        if edits.count - first >= atLeast { return }
        edits.removeLast(edits.count - first)
        for position in state.active where state.canvas.isOpenMask(position) {
            edits.append(state.edit(at: position, .fallback))
        }
        edits.withUnsafeMutableBufferPointer {
            UnsafeMutableBufferPointer(rebasing: $0[first...]).sortInPlace(by: isMoreConfident)
        }
        edits.removeLast(max(edits.count - first - atLeast, 0))
    }

    /// Whether `a` ranks before `b`. NaN comes last.
    private static func isMoreConfident(_ a: Decoder.Edit, than b: Decoder.Edit) -> Bool {
        if a.confidence > b.confidence { return true }
        if a.confidence < b.confidence { return false }
        if a.confidence.isNaN != b.confidence.isNaN { return b.confidence.isNaN }
        return a.position < b.position
    }

    /// Returns how many tokens step `step` of a block must write at least, of `steps` steps (LLaDA2.0).
    static func quota(step: Int, steps: Int, blockLength: Int) -> Int {
        blockLength / steps + (step < blockLength % steps ? 1 : 0)
    }
}
