/// Token-to-token: editing tokens already written (spec: decoding.md, section 2; 2.1 report, eq. 2).
enum TokenToToken {
    /// Adds edits of the active tokens whose prediction is another token, not `excluded`, with confidence > threshold.
    static func propose(
        _ state: DecoderState, threshold: Float, _ reason: Decoder.Reason, excluding excluded: Int32? = nil,
        _ edits: inout [Decoder.Edit]
    ) {
        for position in state.active where state.canvas.isEditable(position) {
            let token = state.predictions.token(at: position)
            let isEdit =
                token != state.canvas.token(position) && token != excluded
                && state.predictions.confidence(at: position) > threshold
            if isEdit { edits.append(state.edit(at: position, reason)) }
        }
    }
}
