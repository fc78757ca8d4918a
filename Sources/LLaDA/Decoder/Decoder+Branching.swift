/// Ways to go on from here, and back.
extension Decoder {
    /// A second decoder that is where this one is, in the midst of a step or not: same canvas, bans, locks, rule,
    /// predictions and proposal. Pages of keys and values are shared until one of the two writes to them, so a fork
    /// costs what will differ.
    ///
    /// Random draws depend on the policy's seed, the number of the forward and the position: forks that are to draw
    /// differently need policies of different seeds. Predictions at hand stay as they are.
    public func fork(policy: Policy? = nil) throws(LLaDAError) -> Decoder {
        var copy = try state.copy()
        if let policy {
            try policy.validate(genLength: options.genLength)
            copy.options.policy = policy
        }
        let fork = Decoder(copy, sequence.fork())
        fork.rule = rule
        return fork
    }

    /// Forgets all that was generated from `position` on, a block's start: its positions, and those of an infilled
    /// prompt, are masked again and free of locks, and its block is the next to be denoised, also after the end. Keys
    /// and values of what stands before are kept, counters go on.
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
        enter(position / options.blockLength)
    }
}
