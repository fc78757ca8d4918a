/// What a host may see, at any time.
extension Decoder {
    public var isFinished: Bool { phase == .finished }
    public var blockLength: Int { options.blockLength }
    public var promptLength: Int { canvasStore.promptLength }
    /// A multiple of the block length.
    public var canvasLength: Int { canvasStore.count }
    /// Positions run through the model so far, and those whose K/V a prefix cache had.
    public var computedPositions: Int { denoiser.computedPositions }
    public var reusedPositions: Int { denoiser.reusedPositions }
    /// Steps done in the active block.
    public var blockStep: Int { progress.step }

    /// All tokens: [canvasLength]. The address stays the same for the decoder's life.
    public var canvas: UnsafeBufferPointer<Int32> { canvasStore.tokens }
    /// A `PositionState` for each: [canvasLength].
    public var states: UnsafeBufferPointer<UInt8> { canvasStore.states }

    /// The step map, [canvasLength]: how many forwards there had been when a token was written last; 0 where none was.
    public var stepMap: UnsafeBufferPointer<Int32> { canvasStore.written }
    /// [canvasLength]
    public var locked: UnsafeBufferPointer<Bool> { canvasStore.locked }

    /// The generated tokens: up to and including the first end-of-sequence token, else all of them. Before the end: the
    /// settled ones.
    public var output: [Int32] {
        let first = canvasStore.promptLength
        let end = isFinished ? answerEnd : min(answerEnd, max(first, settledLength))
        let generated = canvasStore.tokens[first..<end]
        if let stop = generated.firstIndex(where: eosIDs.contains) { return Array(generated[...stop]) }
        return Array(generated)
    }

    /// Of the last forward, for each of its positions from `first` on: the predicted token and its confidence. Nil before
    /// the first forward. Valid until the next call that changes the decoder.
    public var predictions: (first: Int, tokens: UnsafeBufferPointer<Int32>, confidences: UnsafeBufferPointer<Float>)? {
        guard !forwarded.isEmpty else { return nil }
        return (
            forwarded.lowerBound, UnsafeBufferPointer(start: predictedTokens.pointer, count: forwarded.count),
            UnsafeBufferPointer(start: predictedConfidences.pointer, count: forwarded.count)
        )
    }

    /// The most likely tokens at a position of the last forward; bans and penalty applied, temperature not.
    public func candidates(at position: Int, count: Int) throws(LLaDAError) -> [Candidate] {
        let row = try logits(at: position)
        guard let base = row.baseAddress, count > 0 else { return [] }
        return try confidence.candidates(
            base, adjustments[position - forwarded.lowerBound], count: min(count, row.count))
    }

    /// The logits at a position of the last forward, as the model gave them: [vocab].
    public func logits(at position: Int) throws(LLaDAError) -> UnsafeBufferPointer<Float> {
        guard !forwarded.isEmpty else { throw LLaDAError(.state, "there are no logits: call forward first") }
        guard forwarded.contains(position) else {
            throw LLaDAError(
                .invalidArgument,
                "position is \(position); expected one of the last forward, \(forwarded.lowerBound) to \(forwarded.upperBound - 1)"
            )
        }
        let row = try allLogits() + (position - forwarded.lowerBound) * denoiser.vocabSize
        return UnsafeBufferPointer(start: row, count: denoiser.vocabSize)
    }

    /// Those of all positions of the last forward, made when first asked for: [forwarded.count, vocab]
    func allLogits() throws(LLaDAError) -> UnsafePointer<Float> {
        let base = try logitScratch.reserve(forwarded.count * denoiser.vocabSize)
        if !holdsLogits { denoiser.allLogits(rows: forwarded.count, confidence.compute.team, into: base) }
        holdsLogits = true
        return UnsafePointer(base)
    }

    /// What `apply` will write; nil unless a proposal is at hand.
    public var proposal: [Edit]? { phase == .proposed ? edited : nil }
}
