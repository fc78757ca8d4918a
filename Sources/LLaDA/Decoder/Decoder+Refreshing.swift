/// Which rows of the active block the next forward runs, for a policy that refreshes a part of them
/// (spec: decoding.md, section 9).
extension Decoder {
    /// Returns which rows run, [active]; nil for all. Notes which tokens have changed since they last ran.
    func selectRows() throws(LLaDAError) -> [Bool]? {
        guard let refresh = state.policy.refresh else { return nil }
        state.keepPredictions()
        try state.kept.makeOwn(room: mostActive)
        try state.progress.changed.reserve(blockLength)
        try state.progress.ran.reserve(blockLength)
        try selected.reserve(blockLength)
        let (step, active) = (state.progress.step, state.active)
        let isFirst = step == 0 || state.isEditingBlocks
        if isFirst || state.progress.changed.count != blockLength {
            state.progress.changed.removeAll(keepingCapacity: true)
            for _ in 0..<blockLength { state.progress.changed.append(.min / 2) }
        }
        if isFirst { return nil }
        state.noteChanges()
        let isFull = refresh.every > 0 && step % refresh.every == 0
        guard !isFull, state.kept.positions == active,
            sequence.canRunPart(of: active, state.canvas.tokens, keepsInexact: !refresh.exact)
        else { return nil }
        selected.removeAll(keepingCapacity: true)
        for position in active {
            let row = position - active.lowerBound
            let age = step - Int(state.progress.changed[row])
            let kept = state.kept[row]
            let isUnsure = kept.isJudged && kept.confidence < refresh.below && state.canvas.state(position) != .prompt
            selected.append(state.canvas.state(position) == .masked || age < refresh.changed || isUnsure)
        }
        return selected.contains(true) ? selected : nil
    }
}

extension DecoderState {
    /// Notes which tokens of the active block have changed since they last ran, for policies that refresh a part of the
    /// rows. A forward that is done again after it was stopped finds the same changes.
    mutating func noteChanges() {
        guard progress.ran.count == active.count, progress.changed.count == active.count else { return }
        for position in active {
            let row = position - active.lowerBound
            if progress.ran[row] != canvas.token(position) { progress.changed[row] = Int32(clamping: progress.step) }
        }
    }

    /// Notes the tokens with which active positions have run, [active]; nil stands for all positions.
    mutating func noteRan(_ selection: [Bool]?) {
        guard policy.refresh != nil, active.count == options.blockLength else { return }
        if let selection, progress.ran.count == active.count {
            for row in 0..<active.count where selection[row] {
                progress.ran[row] = canvas.token(active.lowerBound + row)
            }
        } else {
            progress.ran.removeAll(keepingCapacity: true)
            for position in active { progress.ran.append(canvas.token(position)) }
        }
    }

    /// Restores the tokens with which the active block has run: those of its K/V, and where these are gone, those that
    /// it has, whose changes have been noted.
    mutating func restoreRan(_ computed: [Int32]) {
        noteRan(nil)
        guard progress.ran.count == active.count, computed.count >= active.upperBound else { return }
        for row in 0..<active.count { progress.ran[row] = computed[active.lowerBound + row] }
    }
}
