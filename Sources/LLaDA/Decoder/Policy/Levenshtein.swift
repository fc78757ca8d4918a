/// The policy of LLaDA2.2: masks are filled, written tokens are edited, and two tokens of the vocabulary, where they
/// are predicted, take a token out or put a mask in before it (spec: decoding.md, section 5).
struct Levenshtein: DecodingPolicy {
    private let threshold: Float
    private let editingThreshold: Float
    private let steps: Int
    private let maxPostSteps: Int
    private let maxStepsPerBlock: Int
    /// A block that comes round again gets so many other tokens at most.
    private static let escapes = 5

    init(_ numbers: Policy) {
        threshold = numbers.threshold
        editingThreshold = numbers.editingThreshold
        steps = numbers.steps
        maxPostSteps = numbers.maxPostSteps
        maxStepsPerBlock = numbers.maxStepsPerBlock
    }

    func hasWork(_ state: DecoderState) -> Bool { state.hasOpenMasks }

    /// A step that changed nothing, as every mask was predicted to be one, would be repeated for ever.
    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState) {
        if state.progress.isStuck { adjustment.ban(state.canvas.maskID) }
    }

    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError) {
        let masks = state.openMasks
        let reason = masks.original + masks.added > 0 ? Decoder.Reason.edit : .postEdit
        MaskToToken.proposeAll(state, &edits)
        if state.progress.step < min(steps, maxStepsPerBlock) {
            let quota = MaskToToken.quota(
                step: state.progress.step, steps: steps, masks: state.progress.originalMasks)
            MaskToToken.choose(from: 0, threshold: threshold, atLeast: quota + masks.added, &edits)
        }
        let isFinal = isOver(state) || isLast(state, masks, edits)
        if isFinal {
            edits.removeAll(keepingCapacity: true)
            MaskToToken.proposeAll(state, &edits)
        }
        TokenToToken.propose(state, threshold: editingThreshold, reason, &edits)
        if isFinal {
            try state.resolve(&edits, look, maskToo: isOver(state))
        } else {
            try escape(state, look, &edits)
        }
        state.readEditTokens(&edits)
    }

    /// Whether the steps are used up and masks are left: the one step more leaves none.
    private func isOver(_ state: DecoderState) -> Bool { state.progress.step >= maxStepsPerBlock }

    /// Whether no step after this one may delete or insert.
    private func isLast(
        _ state: DecoderState, _ masks: (original: Int, added: Int), _ edits: [Decoder.Edit]
    ) -> Bool {
        maxPostSteps > 0
            ? postSteps(state, masks) >= maxPostSteps
            : masks.original > 0 && state.coversOriginalMasks(edits)
    }

    /// The number of steps in a row, with this one, that had no mask of the block's beginning.
    private func postSteps(_ state: DecoderState, _ masks: (original: Int, added: Int)) -> Int {
        masks.original == 0 ? state.progress.postSteps + 1 : 0
    }

    /// As long as the edits lead to a block that was there, gives the least confident change another token.
    private func escape(
        _ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]
    ) throws(LLaDAError) {
        for _ in 0..<Self.escapes {
            state.fill(&look.block, with: edits)
            guard state.progress.seen.contains(look.block), let index = state.leastConfidentChange(edits) else {
                return
            }
            let position = edits[index].position
            look.without.removeAll(keepingCapacity: true)
            look.without.append(edits[index].token)
            let found = try look.judge(position..<position + 1)
            edits[index].token = found.token(at: position) ?? state.canvas.token(position)
            edits[index].confidence = found.probability(at: position)
        }
    }

    func note(_ state: inout DecoderState) {
        let masks = state.openMasks
        state.progress.postSteps = postSteps(state, masks)
        let changes = state.proposal.contains { edit in
            edit.kind != .write || edit.token != state.canvas.token(edit.position)
        }
        let filled = state.proposal.count { state.canvas.isOpenMask($0.position) }
        state.progress.isStuck = !changes && filled > 0 && filled == masks.original + masks.added
        var block: [Int32] = []
        swap(&block, &state.before)
        state.fill(&block, with: state.proposal)
        state.progress.seen.insert(block)
        swap(&block, &state.before)
    }

    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep {
        let done = state.progress.step
        if state.hasOpenMasks { return done > maxStepsPerBlock ? .leaveBlock : .goOn }
        let isStable = step.changed == 0
        let isSpent = state.progress.postSteps + 1 > maxPostSteps
        return isStable || isSpent || done >= maxStepsPerBlock ? .leaveBlock : .goOn
    }

    func hasAnswered(_ state: DecoderState) -> Bool { state.hasEnd(state.generated) }

    var drawsOnlyMasks: Bool { true }

    /// Each step is noted.
    func expectedStates(blockLength: Int) -> (seen: Int, written: Int) { (min(maxStepsPerBlock, 4096), 0) }
}
