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

    /// Whether the policy reads the prediction at an active position. Others are made only if somebody else asks.
    func reads(_ position: Int, _ state: DecoderState) -> Bool

    /// Whether the block is left after the next forward, if that changes nothing.
    func mayLeave(_ state: DecoderState) -> Bool

    /// Adds the edits of a step, from the predictions of the last forward, in any order. `look` has other tokens than
    /// those predicted. Throws what `look` throws.
    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError)

    /// Notes what has to be known of the proposal, which may be the host's, and of the canvas, before it is written.
    func note(_ state: inout DecoderState)

    /// Returns what follows a step that was written.
    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep

    /// Returns what follows the end of the block's own loop, which the policy or the host has ended.
    func end(_ state: inout DecoderState) -> NextStep

    /// The number of blocks, up to the one that is left, that may still be edited: they are not final yet.
    var openBlocks: Int { get }

    /// Whether the answer has ended with the block that is left.
    func hasAnswered(_ state: DecoderState) -> Bool

    /// Whether, with a temperature, only masks are drawn. Then their confidence is the probability without temperature.
    var drawsOnlyMasks: Bool { get }

    /// The number of states of a block for which `progress.seen` and `progress.written` have room from the beginning.
    func expectedStates(blockLength: Int) -> (seen: Int, written: Int)
}

extension DecodingPolicy {
    func validate(genLength: Int) throws(LLaDAError) {}
    func prepare(_ state: inout DecoderState) {}
    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState) {}
    /// What may be filled or edited.
    func reads(_ position: Int, _ state: DecoderState) -> Bool {
        state.canvas.isOpenMask(position) || state.canvas.isEditable(position)
    }
    func mayLeave(_ state: DecoderState) -> Bool { !state.hasOpenMasks }
    func note(_ state: inout DecoderState) {}
    func end(_ state: inout DecoderState) -> NextStep { .leaveBlock }
    var openBlocks: Int { 0 }
    var drawsOnlyMasks: Bool { false }
    /// A block is rarely in more states than twice its length, or 64.
    func expectedStates(blockLength: Int) -> (seen: Int, written: Int) { (max(2 * blockLength, 64), 0) }
}

/// What `apply` has done.
struct AppliedStep {
    /// Whether there were masks that a policy could have filled.
    let hadMasks: Bool
    /// The number of edits of the proposal.
    let edits: Int
    /// The number of positions whose token differs from the one before.
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
        case .levenshtein where variant == .indel: JointThresholdInDel(self)
        case .levenshtein: Levenshtein(self)
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
