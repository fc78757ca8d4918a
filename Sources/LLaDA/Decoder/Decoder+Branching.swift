/// Branches of a decoding: forks, and the way back.
extension Decoder {
    /// Returns a second decoder in the same state, within a step or between steps: same canvas, bans, biases, locks,
    /// rule, predictions and proposal. The two share pages of keys and values until one of them writes to a page.
    ///
    /// A random draw depends on the policy's seed, the number of the forward and the position: forks that are to draw
    /// different tokens need policies of different seeds. A new policy leaves the present predictions as they are.
    /// Throws `.invalidArgument` for a number of the policy that is out of range, and `.outOfMemory`.
    public func fork(policy: Policy? = nil) throws(LLaDAError) -> Decoder {
        // What has not been judged so far is judged as the policy of the forward says.
        if let policy, policy.temperature > 0, state.policy.temperature == 0 { try judgeRest() }
        var copy = try state.copy()
        if let policy {
            try policy.validate(genLength: options.genLength, hasEditTokens: state.editTokens != nil)
            // Rows that a stopped forward was to run may hold anything, and the new policy may choose others.
            if policy.refresh != state.policy.refresh, copy.predictions.positions.isEmpty { copy.kept.clear() }
            copy.policy = policy
            try copy.options.validate(for: sequence.denoiser)
        }
        let fork = try Decoder(copy, sequence.fork())
        fork.rule = rule
        fork.progress = progress
        fork.riding = riding
        (fork.keptCount, fork.askedCount, fork.gatheredCount) = (keptCount, askedCount, gatheredCount)
        return fork
    }

    /// Forgets all that was generated from `position` on, which must be the start of a block. The positions, and those
    /// of an infilled prompt, are masked again and unlocked. Their first block is the next to be denoised, even after
    /// decoding has finished. Keys and values before `position` are kept, and counters go on. Throws `.invalidArgument`
    /// for a position that is no possible start.
    public func truncate(to position: Int) throws(LLaDAError) {
        let last = isFinished ? state.canvas.count : state.canvas.block(state.progress.block).lowerBound
        let generated = state.canvas.block(state.canvas.promptLength / options.blockLength).lowerBound
        let first = options.infill ? 0 : min(generated, last)
        guard first...last ~= position, position % options.blockLength == 0 else {
            throw LLaDAError(
                .invalidArgument,
                """
                truncate: position is \(position); expected a multiple of \(options.blockLength) from \(first) to \
                \(last)
                """
            )
        }
        if position == state.canvas.count { return }
        state.truncate(to: position)
        logitRows.clear()
        keptCandidates.clear()
        enter(position / options.blockLength)
    }
}
