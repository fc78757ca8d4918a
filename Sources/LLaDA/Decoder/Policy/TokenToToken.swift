/// Token-to-token: editing tokens already written (spec: decoding.md, section 2; 2.1 report, eq. 2).
enum TokenToToken {
    /// Returns edits of the active tokens whose prediction is another token, with confidence > threshold.
    static func edits(_ state: DecoderState, threshold: Float, _ reason: Decoder.Reason) -> [Decoder.Edit] {
        let predictions = state.predictions
        return state.editable.filter { position in
            predictions.token(at: position) != state.canvas.token(position)
                && predictions.confidence(at: position) > threshold
        }.map { state.edit(at: $0, reason) }
    }
}
