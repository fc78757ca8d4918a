/// The way from block to block: when one is done, what follows, and when all is.
extension Decoder {
    private var policy: Policy { options.policy }

    /// Makes `block`, or the first after it that has something to generate, active.
    func enter(_ block: Int) {
        var block = block
        while block < canvasStore.blockCount {
            active = canvasStore.block(block)
            progress = BlockProgress()
            progress.block = block
            let masks = canvasStore.openMasks(in: active)
            let isOver =
                masks.isEmpty
                && (policy.kind == .lowConfidence || policy.maxPostSteps == 0
                    || canvasStore.editable(in: active).isEmpty)
            if !isOver { return }
            settle(upTo: active.upperBound)
            block += 1
        }
        finish()
    }

    /// Remembers the block at the first forward of a step. One that was there before, without having been full in between, comes
    /// again for ever: only predictions of the mask itself can do that, so they end (spec: decoding.md, section 2, the
    /// engine rule).
    func noteState() {
        guard policy.kind == .jointThreshold, !isEditingBlocks, !progress.isStuck, !progress.isNoted else { return }
        progress.isNoted = true
        let state = Array(canvasStore.tokens[active])
        if !progress.seen.insert(state).inserted, !canvasStore.openMasks(in: active).isEmpty {
            progress.isGoingRound = true
        }
    }

    /// After a step of the block's own loop.
    func finishStep(hadMasks: Bool, changed: Int, wroteEnd: Bool) {
        let hasMasks = !canvasStore.openMasks(in: active).isEmpty
        switch policy.kind {
        case .lowConfidence:
            if options.eosEarlyStop, wroteEnd, let end = endOfAnswer() {
                answerEnd = end  // of the canvas, as the reference has it: it may lie in the padding of the last block
                finish()
            } else if !hasMasks || progress.step >= stepsPerBlock {
                finishBlock()
            }
        case .jointThreshold:
            if !hadMasks {
                progress.postSteps += 1
                progress.seen = []  // a way through a full block uses up the budget, so it is no endless one
            }
            let isStable = !hadMasks && changed == 0
            let isSpent = !hasMasks && progress.postSteps >= policy.maxPostSteps
            if isStable || isSpent {
                leaveLoop()
            } else {
                progress.isStuck = hadMasks && changed == 0
            }
        }
    }

    /// After a round of block editing.
    func finishRound(_ changed: Int) {
        let rounds = (progress.editingRounds ?? 0) + 1
        progress.editingRounds = rounds
        if changed == 0 || rounds >= policy.mbeRounds { finishBlock() }
    }

    /// The host says that the active block is done; its revisiting, if the policy has any, is still to come.
    func endBlock() {
        if isEditingBlocks { finishBlock() } else { leaveLoop() }
    }

    public var isEditingBlocks: Bool { progress.editingRounds != nil }

    /// The block has left its loop; with multiple block editing it and the blocks before it are revisited together
    /// (spec: decoding.md, section 7).
    private func leaveLoop() {
        guard policy.kind == .jointThreshold, policy.mbeWindow > 1 else { return finishBlock() }
        let firstGenerated = canvasStore.promptLength / options.blockLength
        let first = max(min(firstGenerated, progress.block), progress.block - policy.mbeWindow + 1)
        active = canvasStore.block(first).lowerBound..<canvasStore.block(progress.block).upperBound
        progress.isStuck = false
        progress.isGoingRound = false
        progress.editingRounds = 0
    }

    private func finishBlock() {
        let end = canvasStore.block(progress.block).upperBound
        // What block editing may still revisit is not settled.
        settle(upTo: max(settledLength, end - (policy.mbeWindow - 1) * options.blockLength))
        let generated = min(canvasStore.promptLength, end)..<end
        let isOver =
            switch policy.kind {
            case .lowConfidence: hasEnd(generated)
            case .jointThreshold:
                options.eosEarlyStop && canvasStore.openMasks(in: generated).isEmpty
                    && hasEnd(generated.clamped(to: 0..<settledLength))
            }
        if isOver { finish() } else { enter(progress.block + 1) }
    }

    /// Behind the first end-of-sequence token, if nothing before it is masked.
    private func endOfAnswer() -> Int? {
        for position in canvasStore.promptLength..<canvasStore.count {
            if eosIDs.contains(canvasStore.token(position)) { return position + 1 }
            if canvasStore.state(position) == .masked { return nil }
        }
        return nil
    }

    private func hasEnd(_ range: Range<Int>) -> Bool { range.contains { eosIDs.contains(canvasStore.token($0)) } }

    private func settle(upTo end: Int) {
        canvasStore.settle(settledLength..<max(settledLength, end))
        settledLength = max(settledLength, end)
    }

    private func finish() {
        settle(upTo: active.upperBound)
        phase = .finished
        denoiser.finish(canvasStore.tokens, settled: settledLength)
        let last = output.last
        finishReason = last.map(eosIDs.contains) == true ? .eos : .length
    }
}
