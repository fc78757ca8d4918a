/// The policy of LLaDA2.2 as SGLang has it (spec: decoding.md, section 5): a mask that was there from the beginning is
/// filled in each step, steps without one are counted for good, and a block gets a forward over its final tokens.
struct JointThresholdInDel: DecodingPolicy {
    private let threshold: Float
    private let editingThreshold: Float
    private let maxPostSteps: Int

    init(_ numbers: Policy) {
        threshold = numbers.threshold
        editingThreshold = numbers.editingThreshold
        maxPostSteps = numbers.maxPostSteps
    }

    func hasWork(_ state: DecoderState) -> Bool { state.hasOpenMasks }

    func reads(_ position: Int, _ state: DecoderState) -> Bool {
        !state.progress.isClosing && (state.canvas.isOpenMask(position) || state.canvas.isEditable(position))
    }

    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError) {
        if state.progress.isClosing { return }
        let masks = state.openMasks
        let reason = masks.original + masks.added > 0 ? Decoder.Reason.edit : .postEdit
        let isSpent = isSpent(state, masks)
        MaskToToken.proposeAll(state, &edits)
        if !isSpent, masks.original > 0 {
            try fill(state, look, &edits)
            MaskToToken.choose(from: 0, threshold: threshold, atLeast: 1 + masks.added, &edits)
        }
        let isFinal = isSpent || isLast(state, masks, edits)
        if isFinal, !isSpent {
            edits.removeAll(keepingCapacity: true)
            MaskToToken.proposeAll(state, &edits)
            try fill(state, look, &edits)
        }
        TokenToToken.propose(state, threshold: editingThreshold, reason, &edits)
        if isFinal {
            try state.resolve(&edits, look, maskToo: true)
        } else if state.progress.seen.contains(state.canvas.tokens[state.active]) {
            try escape(state, look, &edits)
        }
        state.readEditTokens(&edits)
    }

    /// Whether this is the last step, whatever it writes: the steps after the beginning's masks, or all, are used up.
    private func isSpent(_ state: DecoderState, _ masks: (original: Int, added: Int)) -> Bool {
        let postSteps = state.progress.postSteps + (masks.original == 0 ? 1 : 0)
        let isOver = state.progress.step >= state.options.blockLength + maxPostSteps
        return isOver || (masks.original == 0 && maxPostSteps == 0) || (maxPostSteps > 0 && postSteps >= maxPostSteps)
    }

    /// Whether this is the last step because it fills the last masks of the beginning, and none may follow.
    private func isLast(
        _ state: DecoderState, _ masks: (original: Int, added: Int), _ edits: [Decoder.Edit]
    ) -> Bool { maxPostSteps == 0 && masks.original > 0 && state.coversOriginalMasks(edits) }

    /// Gives masks of the beginning that were predicted to stay masks the most likely other token.
    private func fill(
        _ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]
    ) throws(LLaDAError) {
        let mask = state.canvas.maskID
        func stays(_ edit: Decoder.Edit) -> Bool { edit.token == mask && state.canvas.original[edit.position] }
        guard let first = edits.first(where: stays)?.position, let last = edits.last(where: stays)?.position else {
            return
        }
        look.without.removeAll(keepingCapacity: true)
        look.without.append(mask)
        let found = try look.judge(first..<last + 1)
        for index in edits.indices where stays(edits[index]) {
            let position = edits[index].position
            edits[index].token = found.token(at: position) ?? mask
            edits[index].confidence = found.probability(at: position)
        }
    }

    /// Gives the least confident change a token that was not written there before in this block.
    private func escape(
        _ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]
    ) throws(LLaDAError) {
        guard let index = state.leastConfidentChange(edits) else { return }
        let position = edits[index].position
        look.without.removeAll(keepingCapacity: true)
        state.progress.written.forEachToken(
            at: position - state.active.lowerBound, blockLength: state.options.blockLength
        ) { look.without.append($0) }
        if state.canvas.isOpenMask(position), state.canvas.original[position] {
            look.without.append(state.canvas.maskID)
        }
        let found = try look.judge(position..<position + 1)
        edits[index].token = found.token(at: position) ?? state.canvas.token(position)
        edits[index].confidence = found.probability(at: position)
    }

    func note(_ state: inout DecoderState) {
        if state.progress.isClosing || state.proposal.isEmpty { return }
        let masks = state.openMasks
        state.progress.isFinal = isSpent(state, masks) || isLast(state, masks, state.proposal)
        if masks.original == 0 { state.progress.postSteps += 1 }
        state.progress.seen.insert(state.canvas.tokens[state.active])
        var block: [Int32] = []
        swap(&block, &state.before)
        block.removeAll(keepingCapacity: true)
        for _ in state.active { block.append(-1) }
        for edit in state.proposal { block[edit.position - state.active.lowerBound] = state.token(of: edit) }
        state.progress.written.insert(block)
        swap(&block, &state.before)
    }

    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep {
        if step.edits == 0 { return .leaveBlock }
        if !state.progress.isFinal { return .goOn }
        if step.changed == 0 { return .leaveBlock }
        state.progress.isClosing = true  // the forward that remains is over the final tokens
        return .goOn
    }

    func hasAnswered(_ state: DecoderState) -> Bool { state.hasEnd(state.generated) }

    var drawsOnlyMasks: Bool { true }

    func expectedStates(blockLength: Int) -> (seen: Int, written: Int) {
        let steps = min(blockLength + maxPostSteps + 2, 4096)
        return (steps, steps)
    }
}
