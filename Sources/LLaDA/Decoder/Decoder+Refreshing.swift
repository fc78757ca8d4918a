/// Which rows of the active block the next forward runs, for a policy that refreshes a part of them
/// (spec: decoding.md, section 9).
extension Decoder {
    /// Returns which rows run, [active]; nil for all. Notes which tokens have changed since they last ran.
    func selectRows() throws(LLaDAError) -> [Bool]? {
        guard let refresh = state.policy.refresh else { return nil }
        state.keepPredictions()
        try state.kept.makeOwn(room: mostActive)
        try state.progress.changed.reserve(blockLength)
        try selected.reserve(blockLength)
        let (step, active) = (state.progress.step, state.active)
        let isFirst = step == 0 || state.isEditingBlocks
        if isFirst || state.progress.changed.count != blockLength {
            state.progress.changed.removeAll(keepingCapacity: true)
            for _ in 0..<blockLength { state.progress.changed.append(.min / 2) }
        }
        if isFirst { return nil }
        for position in active where !sequence.hasRow(position, of: state.canvas.token(position)) {
            state.progress.changed[position - active.lowerBound] = Int32(clamping: step)
        }
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
