/// Mask-to-token: filling masks by confidence (spec: decoding.md, sections 1 and 2). All comparisons are strict, and
/// ties go to the lowest position.
enum MaskToToken {
    /// Adds edits of the active masks with confidence > threshold, or, if these are fewer than `atLeast`, of that
    /// many of the most confident.
    static func propose(_ state: DecoderState, threshold: Float, atLeast: Int, _ edits: inout [Decoder.Edit]) {
        let first = edits.count
        proposeAll(state, &edits)
        choose(from: first, threshold: threshold, atLeast: atLeast, &edits)
    }

    /// Adds edits of all active masks.
    static func proposeAll(_ state: DecoderState, _ edits: inout [Decoder.Edit]) {
        for position in state.active where state.canvas.isOpenMask(position) {
            edits.append(state.edit(at: position, .fallback))
        }
    }

    /// Keeps of the edits from `first` on those with confidence > threshold, or, if these are fewer than `atLeast`,
    /// that many of the most confident.
    static func choose(from first: Int, threshold: Float, atLeast: Int, _ edits: inout [Decoder.Edit]) {
        var kept = first
        if edits[first...].count(where: { $0.confidence > threshold }) >= atLeast {
            for index in first..<edits.count where edits[index].confidence > threshold {
                edits[kept] = edits[index]
                edits[kept].reason = .threshold
                kept += 1
            }
        } else {
            edits.withUnsafeMutableBufferPointer {
                UnsafeMutableBufferPointer(rebasing: $0[first...]).sortInPlace(by: isMoreConfident)
            }
            kept = min(edits.count, first + atLeast)
        }
        edits.removeLast(edits.count - kept)
    }

    /// Whether `a` ranks before `b`. NaN comes last.
    private static func isMoreConfident(_ a: Decoder.Edit, than b: Decoder.Edit) -> Bool {
        if a.confidence > b.confidence { return true }
        if a.confidence < b.confidence { return false }
        if a.confidence.isNaN != b.confidence.isNaN { return b.confidence.isNaN }
        return a.position < b.position
    }

    /// Returns how many of `masks` masks step `step` of a block must fill at least, of `steps` steps.
    static func quota(step: Int, steps: Int, masks: Int) -> Int {
        masks / steps + (step < masks % steps ? 1 : 0)
    }
}
