/// A decoding algorithm: what it adjusts before predictions are made, what it proposes, and what follows a step.
///
/// A policy is a value that never changes. What it must remember of a block stands in `DecoderState.progress`, so that
/// forks and snapshots have it too. A new policy needs a file like `LowConfidence.swift`, a kind, and its line in
/// `Policy.decodingPolicy` (docs/architecture.md, "A decoding policy").
protocol DecodingPolicy: Sendable {
    /// Throws `.invalidArgument` unless the policy's numbers suit the length to generate.
    func validate(genLength: Int) throws(LLaDAError)

    /// Whether there is something to do in a block that has just become active.
    func hasWork(_ state: DecoderState) -> Bool

    /// Prepares predictions, after the model has run over the active positions. It is called again if a forward is
    /// repeated.
    func prepare(_ state: inout DecoderState)

    /// Adjusts the logits at a position, in addition to the host's bans.
    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState)

    /// Adds the edits of a step, from the predictions of the last forward, in any order.
    func propose(_ state: DecoderState, _ edits: inout [Decoder.Edit])

    /// Returns what follows a step that was written.
    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep

    /// Returns what follows the end of the block's own loop, which the policy or the host has ended.
    func end(_ state: inout DecoderState) -> NextStep

    /// The number of blocks, up to the one that is left, that may still be edited: they are not final yet.
    var openBlocks: Int { get }

    /// Whether the answer has ended with the block that is left.
    func hasAnswered(_ state: DecoderState) -> Bool
}

extension DecodingPolicy {
    func validate(genLength: Int) throws(LLaDAError) {}
    func prepare(_ state: inout DecoderState) {}
    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState) {}
    func end(_ state: inout DecoderState) -> NextStep { .leaveBlock }
    var openBlocks: Int { 0 }
}

/// What `apply` has done.
struct AppliedStep {
    /// Whether there were masks that a policy could have filled.
    let hadMasks: Bool
    /// The number of tokens that were written and differ from those before.
    let changed: Int
    /// Whether an end-of-sequence token is among them.
    let wroteEnd: Bool
}

enum NextStep {
    /// One more step on the active positions.
    case goOn
    case leaveBlock
    /// The end of decoding; the answer ends before this position.
    case finish(answerEnd: Int)
}

extension Policy {
    /// The algorithm of the policy's kind, with its numbers.
    var decodingPolicy: any DecodingPolicy {
        switch kind {
        case .lowConfidence: LowConfidence(self)
        case .jointThreshold: MultiBlockEditing(self)
        }
    }
}

extension DecoderState {
    /// Returns an edit to the predicted token at `position`.
    func edit(at position: Int, _ reason: Decoder.Reason) -> Decoder.Edit {
        Decoder.Edit(
            position: position, token: predictions.token(at: position),
            confidence: predictions.confidence(at: position),
            reason: reason)
    }
}
