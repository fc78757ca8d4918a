/// Ways to go on from here, and back.
extension Decoder {
    /// A second decoder that is where this one is, in the midst of a step or not: same canvas, bans, locks, predictions and
    /// proposal. Pages of keys and values are shared until one of the two writes to them, so a fork costs what will differ.
    ///
    /// Random draws depend on the policy's seed, the number of the forward and the position: forks that are to draw
    /// differently need policies of different seeds. Predictions at hand stay as they are.
    public func fork(policy: Policy? = nil) throws(LLaDAError) -> Decoder {
        if let policy { try options.check(policy) }
        return try Decoder(copying: self, policy ?? options.policy)
    }

    /// Forgets all that was generated from `position` on, a block's start: its positions, and those of an infilled prompt,
    /// are masked again and free of locks, and its block is the next to be denoised, also after the end. Keys and values of
    /// what stands before are kept, counters go on.
    public func truncate(to position: Int) throws(LLaDAError) {
        let last = isFinished ? canvasStore.count : canvasStore.block(progress.block).lowerBound
        let generated = canvasStore.block(canvasStore.promptLength / options.blockLength).lowerBound
        let first = options.infill ? 0 : min(generated, last)
        guard first...last ~= position, position % options.blockLength == 0 else {
            throw LLaDAError(
                .invalidArgument,
                "truncate: position is \(position); expected a multiple of \(options.blockLength) from \(first) to \(last)"
            )
        }
        if position == canvasStore.count { return }
        canvasStore.truncate(to: position)
        settledLength = min(settledLength, position)
        answerEnd = canvasStore.promptLength + options.genLength
        finishReason = .none
        phase = .ready
        forwarded = 0..<0
        holdsLogits = false
        (edited, events, blockEnds) = ([], [], nil)
        pending.removeAll { $0.position >= position }
        enter(position / options.blockLength)
    }
}
