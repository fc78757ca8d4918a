/// What a host may see, at any time.
extension Decoder {
    public var options: Options { state.options }
    public var phase: Phase { state.phase }
    public var isFinished: Bool { state.phase == .finished }
    public var finishReason: FinishReason { state.finishReason }
    public var blockLength: Int { state.options.blockLength }
    public var promptLength: Int { state.canvas.promptLength }
    /// A multiple of the block length.
    public var canvasLength: Int { state.canvas.count }
    /// The positions that the next, or current, forward is about.
    public var active: Range<Int> { state.active }
    /// Positions before this one are final.
    public var settledLength: Int { state.settledLength }
    /// Steps done in the active block.
    public var blockStep: Int { state.progress.step }
    /// Whether the step at hand revisits finished blocks (multi-block editing).
    public var isEditingBlocks: Bool { state.isEditingBlocks }

    /// Denoising forwards, as the papers count them for tokens per forward; those of block editing included.
    public var forwards: Int { state.counters.forwards }
    /// Forwards run only to compute K/V of finished blocks.
    public var commits: Int { state.counters.commits }
    /// Forwards run only to compute K/V of the prompt.
    public var prefills: Int { state.counters.prefills }
    /// Tokens that replaced another token.
    public var edits: Int { state.counters.edits }
    /// Positions run through the model so far, and those whose K/V a prefix cache had.
    public var computedPositions: Int { sequence.computedPositions }
    public var reusedPositions: Int { sequence.reusedPositions }

    /// All tokens: [canvasLength]. The address stays the same for the decoder's life.
    public var canvas: UnsafeBufferPointer<Int32> { state.canvas.tokens }
    /// A `PositionState` for each: [canvasLength].
    public var states: UnsafeBufferPointer<UInt8> { state.canvas.states }
    /// The step map, [canvasLength]: how many forwards there had been when a token was written last; 0 where none was.
    public var stepMap: UnsafeBufferPointer<Int32> { state.canvas.written }
    /// [canvasLength]
    public var locked: UnsafeBufferPointer<Bool> { state.canvas.locked }

    /// The generated tokens: up to and including the first end-of-sequence token, else all of them. Before the end: the
    /// settled ones.
    public var output: [Int32] {
        let first = state.canvas.promptLength
        let end = isFinished ? state.answerEnd : min(state.answerEnd, max(first, settledLength))
        let generated = state.canvas.tokens[first..<end]
        if let stop = generated.firstIndex(where: state.eosIDs.contains) { return Array(generated[...stop]) }
        return Array(generated)
    }

    /// Of the last forward, for each of its positions from `first` on: the predicted token and its confidence. Nil
    /// before the first forward. Valid until the next call that changes the decoder.
    public var predictions: (first: Int, tokens: UnsafeBufferPointer<Int32>, confidences: UnsafeBufferPointer<Float>)? {
        let predictions = state.predictions
        if predictions.positions.isEmpty { return nil }
        return (predictions.positions.lowerBound, predictions.tokens, predictions.confidences)
    }

    /// The most likely tokens at a position of the last forward; bans and penalty applied, temperature not.
    public func candidates(at position: Int, count: Int) throws(LLaDAError) -> [Candidate] {
        let row = try logits(at: position)
        guard let base = row.baseAddress, count > 0 else { return [] }
        return try confidence.candidates(
            base, state.predictions.adjustment(at: position), count: min(count, row.count))
    }

    /// The logits at a position of the last forward, as the model gave them: [vocab].
    public func logits(at position: Int) throws(LLaDAError) -> UnsafeBufferPointer<Float> {
        let positions = state.predictions.positions
        guard let states = sequence.states, !positions.isEmpty else {
            throw LLaDAError(.state, "there are no logits: call forward first")
        }
        guard positions.contains(position) else {
            throw LLaDAError(
                .invalidArgument,
                """
                position is \(position); expected one of the last forward, \(positions.lowerBound) to \
                \(positions.upperBound - 1)
                """
            )
        }
        let rows = try logitRows.all(states, confidence.compute.team)
        let row = rows + (position - positions.lowerBound) * states.vocabSize
        return UnsafeBufferPointer(start: row, count: states.vocabSize)
    }

    /// What `apply` will write; nil unless a proposal is at hand.
    public var proposal: [Edit]? { state.phase == .proposed ? state.proposal : nil }
    /// What the last `apply` changed, and what the host had changed since the one before.
    public var events: [Event] { state.events }
}
