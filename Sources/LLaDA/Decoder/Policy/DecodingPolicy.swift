/// A decoding algorithm: what it adjusts before predictions are made, what it proposes, and what follows a step.
///
/// A policy is a value that never changes. What it has to remember of a block stands in `DecoderState.progress`, so
/// that forks and snapshots have it too. To add one: a file like `LowConfidence.swift`, a kind, and its line in
/// `Policy.decodingPolicy` (docs/architecture.md, "A decoding policy").
protocol DecodingPolicy: Sendable {
    /// Whether the numbers suit the length to generate.
    func validate(genLength: Int) throws(LLaDAError)

    /// Whether there is something to do in a block that has just become active.
    func hasWork(_ state: DecoderState) -> Bool

    /// The model has run over the active positions. Called before predictions are made of it, also where a forward is
    /// repeated.
    func prepare(_ state: inout DecoderState)

    /// What becomes of the logits at a position, beside what the host has banned.
    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState)

    /// The edits of a step, from the predictions of the last forward, in any order.
    func propose(_ state: DecoderState) -> [Decoder.Edit]

    /// What follows a step that was written.
    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep

    /// What follows when the block's own loop is over, for the policy or for the host.
    func end(_ state: inout DecoderState) -> NextStep

    /// So many blocks up to the one that is left may still be edited: they are not final yet.
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
    /// Whether policies could have filled masks before.
    let hadMasks: Bool
    /// Tokens that were written and are others than before.
    let changed: Int
    /// Whether an end-of-sequence token is among them.
    let wroteEnd: Bool
}

enum NextStep {
    /// One more step on the active positions.
    case goOn
    case leaveBlock
    /// Decoding is done; the answer ends before this position.
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
    /// An edit to the token that is predicted at `position`.
    func edit(at position: Int, _ reason: Decoder.Reason) -> Decoder.Edit {
        Decoder.Edit(
            position: position, token: predictions.token(at: position),
            confidence: predictions.confidence(at: position),
            reason: reason)
    }
}
