/// The three parts of a step.
extension Decoder {
    /// Runs the model over the active positions, and before that over all earlier positions without valid K/V. Throws
    /// `.state` after the end, `.cancelled` if `cancellation` was requested, `.numeric` if the model computes NaN or
    /// infinities, and `.outOfMemory`.
    public func forward() throws(LLaDAError) { try DecoderBatch.forward(1) { _ in self } }

    /// Lets the policy make a proposal from the predictions, and then lets the host's rule, if there is one, change it.
    /// Throws `.state` without predictions, and what the rule throws.
    public func propose() throws(LLaDAError) {
        try checkForwarded("propose")
        try judgeRead()
        var proposal: [Edit] = []
        swap(&proposal, &state.proposal)  // nothing else refers to it, so it keeps its memory
        proposal.removeAll(keepingCapacity: true)
        do throws(LLaDAError) {
            try look.reserve()  // in the first step, so that later ones need no memory
            try policy.propose(state, look, &proposal)
        } catch {
            state.phase = .forwarded
            throw error
        }
        proposal.withUnsafeMutableBufferPointer { $0.sortInPlace(by: Edit.isBefore) }
        state.proposal = proposal
        state.phase = .proposed
        do throws(LLaDAError) {
            try rule?(self)
        } catch {
            state.phase = .forwarded
            state.proposal.removeAll(keepingCapacity: true)
            throw error
        }
    }

    /// Writes the proposal, emits its events, and moves on if the block is done. Throws `.state` without a proposal.
    public func apply() throws(LLaDAError) {
        guard state.phase == .proposed else {
            throw LLaDAError(.state, "apply needs a proposal: call propose first (phase is \(phase))")
        }
        // The events of the step come behind those of the host.
        try state.hostEvents.makeRoom(for: state.proposal.count)
        try state.progress.seen.makeRoom(blockLength: state.active.count)
        if policy.expectedStates(blockLength: options.blockLength).written > 0 {
            try state.progress.written.makeRoom(blockLength: state.active.count)
        }
        policy.note(&state)
        let step = state.writeProposal()
        let next: NextStep
        if let ends = state.blockEnds {
            state.progress.isStuck = false
            next = ends ? policy.end(&state) : .goOn
        } else {
            next = policy.follow(step, &state)
        }
        state.blockEnds = nil
        move(next)
    }

    /// Does the rest of the current step: those of `forward`, `propose` and `apply` that have not been called. Throws
    /// what they throw.
    public func step() throws(LLaDAError) {
        if phase == .ready || phase == .finished { try forward() }
        if phase == .forwarded { try propose() }
        try apply()
    }

    func checkUnfinished(_ call: String) throws(LLaDAError) {
        if phase == .finished { throw LLaDAError(.state, "\(call): decoding has finished") }
    }

    func checkForwarded(_ call: String) throws(LLaDAError) {
        try checkUnfinished(call)
        if phase == .ready { throw LLaDAError(.state, "\(call) needs predictions: call forward first") }
    }
}

/// The way from block to block.
extension Decoder {
    private func move(_ next: NextStep) {
        switch next {
        case .goOn: break
        case .leaveBlock: leaveBlock()
        case .finish(let answerEnd):
            state.answerEnd = answerEnd
            finish()
        }
    }

    /// Makes `block`, or the first later block with work to do, active.
    func enter(_ block: Int) {
        for block in block..<max(block, state.canvas.blockCount) {
            state.enter(block)
            if policy.hasWork(state) { return }
            state.settle(upTo: state.active.upperBound)
        }
        finish()
    }

    private func leaveBlock() {
        let end = state.canvas.block(state.progress.block).upperBound
        state.settle(upTo: end - policy.openBlocks * blockLength)
        if policy.hasAnswered(state) { finish() } else { enter(state.progress.block + 1) }
    }

    private func finish() {
        state.settle(upTo: state.active.upperBound)
        state.phase = .finished
        sequence.share(state.canvas.tokens, upTo: state.settledLength)
        sequence.releaseReserve()
        let first = state.canvas.promptLength
        state.finishReason = state.hasEnd(first..<max(first, state.answerEnd)) ? .eos : .length
    }
}
