/// The policy of LLaDA2.0: masks are filled where confidence > threshold, or by quota, and written tokens stay
/// (spec: decoding.md, section 1).
struct LowConfidence: DecodingPolicy {
    private let threshold: Float
    private let steps: Int
    private let minimalTopk: Int

    init(_ numbers: Policy) {
        threshold = numbers.threshold
        steps = numbers.steps
        minimalTopk = numbers.minimalTopk
    }

    func validate(genLength: Int) throws(LLaDAError) {
        guard genLength <= 0 || minimalTopk <= genLength else {
            throw Policy.refusal("minimal_topk", minimalTopk, expected: "at most gen_length, \(genLength)")
        }
    }

    func hasWork(_ state: DecoderState) -> Bool { state.hasOpenMasks }

    /// What is written stays.
    func reads(_ position: Int, _ state: DecoderState) -> Bool { state.canvas.isOpenMask(position) }

    func propose(_ state: DecoderState, _ look: SecondLook, _ edits: inout [Decoder.Edit]) throws(LLaDAError) {
        let blockLength = state.options.blockLength
        let quota = MaskToToken.quota(step: state.progress.step, steps: stepsPerBlock(state), masks: blockLength)
        MaskToToken.propose(state, threshold: threshold, atLeast: quota, &edits)
    }

    func follow(_ step: AppliedStep, _ state: inout DecoderState) -> NextStep {
        // The end is searched in the whole canvas, as in the reference: it may lie in the padding of the last block.
        if state.options.eosEarlyStop, step.wroteEnd, let end = state.endOfAnswer { return .finish(answerEnd: end) }
        return !state.hasOpenMasks || state.progress.step >= stepsPerBlock(state) ? .leaveBlock : .goOn
    }

    func hasAnswered(_ state: DecoderState) -> Bool { state.hasEnd(state.generated) }

    /// Returns S of the reference. Without a length to generate (infilling), only `steps` counts.
    private func stepsPerBlock(_ state: DecoderState) -> Int {
        let genLength = state.options.genLength
        return genLength > 0 ? min(steps, genLength / minimalTopk) : steps
    }
}
