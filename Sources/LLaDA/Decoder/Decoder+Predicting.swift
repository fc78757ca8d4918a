/// The way from the model's states to predictions.
extension Decoder {
    /// Prepares a forward: the first phase. If a later phase fails, the decoder has no predictions.
    func prepareForward() throws(LLaDAError) -> Pending {
        try checkUnfinished("forward")
        try cancellation.check()
        if !state.options.useCache { sequence.reset() }
        state.phase = .ready
        state.proposal = []
        state.predictions.clear()
        logitRows.clear()
        return try sequence.prepare(state.canvas.tokens, active: state.active, asOneBlock: state.isWindow)
    }

    /// Counts forwards over earlier positions that have run before the one over the active positions.
    func noteAhead(_ ahead: Int) {
        sequence.share(state.canvas.tokens, upTo: state.active.lowerBound)
        if state.counters.forwards == 0 { state.counters.prefills += ahead } else { state.counters.commits += ahead }
    }

    /// Counts the forward over the active positions; `predict` follows.
    func noteForward() {
        state.counters.forwards += 1
        policy.prepare(&state)
    }

    /// Makes the predictions of the last forward, with bans and penalty applied.
    func predict(cancellations: [Cancellation]) throws(LLaDAError) {
        guard let states = sequence.states else { return }
        let numbers = state.options.policy
        let adjustments = adjustments()
        let logits = numbers.temperature > 0 ? try logitRows.all(states, confidence.compute.team) : nil
        let place = try state.predictions.begin(state.active, adjustments)
        guard let logits else {
            return try confidence.predict(
                states, adjust: adjustments, cancellations: cancellations, tokens: place.tokens,
                confidences: place.confidences)
        }
        let sampler = Sampler(temperature: numbers.temperature, topK: numbers.topK, topP: numbers.topP)
        let random = Philox(seed: numbers.seed)
        let (first, forward) = (state.active.lowerBound, state.counters.forwards)
        try confidence.draw(
            sampler, logits: logits, adjust: adjustments,
            uniform: { random.uniform(forward: forward, position: first + $0) }, tokens: place.tokens,
            confidences: place.confidences)
    }

    /// Makes predictions again after a change of bans. This is no forward: a request to cancel waits for the next one.
    func predictAgain() throws(LLaDAError) {
        let before = state.predictions
        do throws(LLaDAError) {
            try predict(cancellations: [])
        } catch {
            state.predictions = before
            throw error
        }
    }

    /// Returns the adjustments of the active positions' logits: [active.count].
    func adjustments() -> [LogitAdjustment] {
        let everywhere = Array(state.bans.everywhere)  // shared by all positions that add nothing
        return state.active.map { position in
            var adjustment = LogitAdjustment(position: position, banned: everywhere)
            if let here = state.bans.at[position] { adjustment.banned += here }
            policy.adjust(&adjustment, at: position, state)
            return adjustment
        }
    }
}

/// The logits of all rows of a forward, computed at the first use.
struct LogitRows {
    private var scratch = Scratch<Float>()  // [rows, vocab]
    private var isFilled = false

    mutating func clear() { isFilled = false }

    /// Returns the logits, [states.count, vocab]. They are valid until the next forward.
    mutating func all(_ states: FinalStates, _ team: ThreadTeam) throws(LLaDAError) -> UnsafePointer<Float> {
        let base = try scratch.reserve(states.count * states.vocabSize)
        if !isFilled { states.allLogits(rows: states.count, team, into: base) }
        isFilled = true
        return UnsafePointer(base)
    }
}
