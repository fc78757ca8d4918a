/// The policy of LLaDA2.1 with multi-block editing: a block that has left the loop of `JointThreshold` is revisited
/// together with the blocks before it. These blocks see each other, and their tokens are edited, but none is masked
/// (spec: decoding.md, section 7). A window of one block switches multi-block editing off.
struct MultiBlockEditing: DecodingPolicy {
    private let block: JointThreshold
    private let editingThreshold: Float
    private let mbeWindow: Int
    private let mbeRounds: Int

    init(_ numbers: Policy) {
        block = JointThreshold(numbers)
        editingThreshold = numbers.editingThreshold
        mbeWindow = numbers.mbeWindow
        mbeRounds = numbers.mbeRounds
    }

    func hasWork(_ state: DecoderState) -> Bool { block.hasWork(state) }

    func prepare(_ state: inout DecoderState) {
        if !state.isEditingBlocks { block.prepare(&state) }
    }

    func adjust(_ adjustment: inout LogitAdjustment, at position: Int, _ state: DecoderState) {
        block.adjust(&adjustment, at: position, state)
    }

    func mayLeave(_ state: DecoderState) -> Bool { !state.isEditingBlocks && block.mayLeave(state) }

    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError) {
        if !state.isEditingBlocks { return try block.propose(state, look, &edits) }
        // A finished block is not opened again: here, the mask is not an edit.
        TokenToToken.propose(
            state, threshold: editingThreshold, .blockEdit, excluding: state.canvas.maskID, &edits)
    }

    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep {
        guard let rounds = state.progress.editingRounds else {
            if case .leaveBlock = block.follow(step, &state) { return end(&state) }
            return .goOn
        }
        state.progress.editingRounds = rounds + 1
        return step.changed == 0 || rounds + 1 >= mbeRounds ? .leaveBlock : .goOn
    }

    func end(_ state: inout DecoderState) -> NextStep {
        if state.isEditingBlocks || mbeWindow == 1 { return .leaveBlock }
        let current = state.progress.block
        let firstGenerated = state.canvas.promptLength / state.options.blockLength
        let first = max(firstGenerated, current - mbeWindow + 1)
        if first >= current { return .leaveBlock }  // alone, a block sees what it has seen
        state.active = state.canvas.block(first).lowerBound..<state.canvas.block(current).upperBound
        state.progress.isStuck = false
        state.progress.isGoingRound = false
        state.progress.editingRounds = 0
        return .goOn
    }

    /// The next window reaches back this far.
    var openBlocks: Int { mbeWindow - 1 }

    func hasAnswered(_ state: DecoderState) -> Bool { block.hasAnswered(state) }
}
