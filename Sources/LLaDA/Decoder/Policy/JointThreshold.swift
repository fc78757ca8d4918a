/// The policy of LLaDA2.1: masks are filled, and written tokens are edited, until nothing changes
/// (spec: decoding.md, sections 2 and 3).
struct JointThreshold: DecodingPolicy {
    private let threshold: Float
    private let editingThreshold: Float
    private let maxPostSteps: Int
    private let numToTransfer: Int
    private let penaltyLambda: Float

    init(_ numbers: Policy) {
        threshold = numbers.threshold
        editingThreshold = numbers.editingThreshold
        maxPostSteps = numbers.maxPostSteps
        numToTransfer = numbers.numToTransfer
        penaltyLambda = numbers.penaltyLambda
    }

    func hasWork(_ state: DecoderState) -> Bool {
        state.hasOpenMasks || (maxPostSteps > 0 && state.hasEditable)
    }

    /// Remembers the block at the first forward of a step. A block that comes back, without having been full in
    /// between, would come back for ever. Only predictions of the mask can cause that, so they end
    /// (spec: decoding.md, section 2, the engine rule).
    func prepare(_ state: inout DecoderState) {
        guard !state.progress.isStuck, !state.progress.isNoted else { return }
        state.progress.isNoted = true
        let isNew = state.progress.seen.insert(
            UnsafeBufferPointer(rebasing: state.canvas.tokens[state.active]))
        if !isNew, state.hasOpenMasks { state.progress.isGoingRound = true }
    }

    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState) {
        if state.progress.isStuck || state.progress.isGoingRound { adjustment.ban(state.canvas.maskID) }
        // SGLang's penalty, within the block (spec: decoding.md, section 3).
        if penaltyLambda != 0, position % state.options.blockLength > 0 {
            adjustment.penalty = (state.canvas.token(position - 1), penaltyLambda)
        }
    }

    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError) {
        let reason = state.hasOpenMasks ? Decoder.Reason.edit : .postEdit
        MaskToToken.propose(state, threshold: threshold, atLeast: numToTransfer, &edits)
        TokenToToken.propose(state, threshold: editingThreshold, reason, &edits)
    }

    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep {
        if !step.hadMasks {
            state.progress.postSteps += 1
            state.progress.seen.removeAll()  // a way through a full block uses up the budget, so it cannot be endless
        }
        let isStable = !step.hadMasks && step.changed == 0
        let isSpent = !state.hasOpenMasks && state.progress.postSteps >= maxPostSteps
        if isStable || isSpent { return end(&state) }
        state.progress.isStuck = step.hadMasks && step.changed == 0
        return .goOn
    }

    func hasAnswered(_ state: DecoderState) -> Bool {
        let generated = state.generated
        return state.options.eosEarlyStop && !generated.contains(where: state.canvas.isOpenMask)
            && state.hasEnd(generated)
    }
}
