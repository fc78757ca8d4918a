/// From the model's states to predictions.
extension Decoder {
    /// The first phase of a forward. If what follows fails half-way, predictions are gone.
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

    /// So many forwards over earlier positions have gone ahead of that over the active ones.
    func noteAhead(_ ahead: Int) {
        sequence.share(state.canvas.tokens, upTo: state.active.lowerBound)
        if state.counters.forwards == 0 { state.counters.prefills += ahead } else { state.counters.commits += ahead }
    }

    /// The model has run over the active positions; what is left is `predict`.
    func noteForward() {
        state.counters.forwards += 1
        policy.prepare(&state)
    }

    /// Predictions of the last forward, bans and penalty applied.
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

    /// Bans have changed since. This is no forward: a request to cancel waits for the next one.
    func predictAgain() throws(LLaDAError) {
        let before = state.predictions
        do throws(LLaDAError) {
            try predict(cancellations: [])
        } catch {
            state.predictions = before
            throw error
        }
    }

    /// What the rows of the active positions go through: [active.count]
    func adjustments() -> [LogitAdjustment] {
        let everywhere = Array(state.bans.everywhere)  // shared by all positions that add nothing
        return state.active.map { position in
            var adjustment = LogitAdjustment(banned: everywhere)
            if let here = state.bans.at[position] { adjustment.banned += here }
            policy.adjust(&adjustment, at: position, state)
            return adjustment
        }
    }
}

/// The logits of all rows of a forward, made when first asked for.
struct LogitRows {
    private var scratch = Scratch<Float>()  // [rows, vocab]
    private var isFilled = false

    mutating func clear() { isFilled = false }

    /// [states.count, vocab]; valid until the next forward.
    mutating func all(_ states: FinalStates, _ team: ThreadTeam) throws(LLaDAError) -> UnsafePointer<Float> {
        let base = try scratch.reserve(states.count * states.vocabSize)
        if !isFilled { states.allLogits(rows: states.count, team, into: base) }
        isFilled = true
        return UnsafePointer(base)
    }
}
