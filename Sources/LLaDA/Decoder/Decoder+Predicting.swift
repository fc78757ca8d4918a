/// The way from the model's states to predictions.
extension Decoder {
    /// Prepares a forward: the first phase. If a later phase fails, the decoder has no predictions.
    func prepareForward() throws(LLaDAError) {
        pending = nil
        try checkUnfinished("forward")
        try cancellation.check()
        if !state.options.useCache { sequence.reset() }
        state.phase = .ready
        state.proposal.removeAll(keepingCapacity: true)
        state.predictions.clear()
        logitRows.clear()
        keptCandidates.clear()
        // Who has looked at some after a forward will do so after the next one.
        gatheredCount = max(keptCount, min(askedCount, 64))
        askedCount = 0
        pending = try sequence.prepare(state.canvas.tokens, active: state.active, asOneBlock: state.isWindow)
    }

    /// Counts a forward over the active positions, after those over earlier ones; `predict` follows.
    func noteForward() {
        sequence.share(state.canvas.tokens, upTo: state.active.lowerBound)
        let ahead = pending?.aheadCount ?? 0
        if state.counters.forwards == 0 { state.counters.prefills += ahead } else { state.counters.commits += ahead }
        let progress = state.progress
        beforeForward = (progress.isNoted, progress.isGoingRound, progress.seen.count)
        state.counters.forwards += 1
        policy.prepare(&state)
    }

    /// Takes back `noteForward`, except for the forwards over earlier positions: a forward without predictions does not
    /// count, and can be repeated.
    func unnoteForward() {
        (state.progress.isNoted, state.progress.isGoingRound) = (beforeForward.isNoted, beforeForward.isGoingRound)
        state.progress.seen.removeAll(behind: beforeForward.seen)
        state.counters.forwards -= 1
        state.predictions.clear()
    }

    /// Makes the predictions of the last forward, with biases, bans and penalty applied.
    func predict(_ work: Workspace, cancellations: [Cancellation] = []) throws(LLaDAError) {
        guard let states = sequence.states else { return }
        let numbers = state.policy
        let logits =
            numbers.temperature > 0 ? try logitRows.all(states, room: mostActive, confidence.compute.team) : nil
        let place = try beginPredictions()
        guard let logits else {
            return try confidence.predict(
                states, adjust: state.predictions.adjustments, best: gatheredCount, room: mostActive,
                cancellations: cancellations, work, tokens: place.tokens, confidences: place.confidences
            ) { (row, peak, best) throws(LLaDAError) in keptCandidates.keep(row, peak, best, row) }
        }
        let sampler = Sampler(temperature: numbers.temperature, topK: numbers.topK, topP: numbers.topP)
        let random = Philox(seed: numbers.seed)
        let (first, forward) = (state.active.lowerBound, state.counters.forwards)
        let positions = state.canvas.states.baseAddress.map { $0 + first }  // [active]
        try confidence.draw(
            sampler, logits: logits, adjust: state.predictions.adjustments, best: gatheredCount, room: mostActive,
            uniform: { random.uniform(forward: forward, position: first + $0) },
            states: policy.drawsOnlyMasks ? positions : nil, work, tokens: place.tokens,
            confidences: place.confidences
        ) { (row, peak, best) throws(LLaDAError) in keptCandidates.keep(row, peak, best, row) }
    }

    /// Makes predictions again after a change of bans or biases. This is no forward: a request to cancel waits for the
    /// next one.
    func predictAgain() throws(LLaDAError) {
        let before = state.predictions
        let work = try confidence.compute.workspaces.take()
        defer { confidence.compute.workspaces.giveBack(work) }
        do throws(LLaDAError) {
            try predict(work)
        } catch {
            state.predictions = before
            keptCandidates.clear()
            throw error
        }
    }

    /// Makes room for the predictions of the active positions, and the adjustments of their logits.
    func beginPredictions() throws(LLaDAError) -> (
        tokens: UnsafeMutablePointer<Int32>, confidences: UnsafeMutablePointer<Float>
    ) {
        var predictions = Predictions()
        swap(&predictions, &state.predictions)  // the policy looks at the state meanwhile
        defer { state.predictions = predictions }
        let place = try predictions.begin(state.active, room: mostActive)
        keptCandidates.clear()
        if gatheredCount > 0 { try keptCandidates.begin(gatheredCount, rows: 0..<state.active.count, room: mostActive) }
        for position in state.active {
            var adjustment = LogitAdjustment(
                position: position, banned: state.bans.tokens(at: position), biases: state.biases.list(at: position))
            policy.adjust(&adjustment, at: position, state)
            predictions.adjustments.append(adjustment)
        }
        return place
    }
}

/// The logits of the rows of a forward, computed at the first use.
struct LogitRows {
    private var scratch: Scratch<Float>  // [rows, vocab]
    private var knownScratch: Scratch<Bool>  // [rows]
    private var values: UnsafePointer<Float>?  // [rows, vocab]
    private var known: UnsafeMutablePointer<Bool>?  // nil: nothing has been computed
    private var asking = Asking()

    init(in budget: MemoryBudget) {
        scratch = Scratch(in: budget)
        knownScratch = Scratch(in: budget)
    }

    mutating func clear() {
        known = nil
        asking = Asking()
    }

    /// The logits, if all of them have been computed.
    func stored(_ states: FinalStates) -> StoredLogits? {
        guard let known, let values, (0..<states.count).allSatisfy({ known[$0] }) else { return nil }
        return StoredLogits(values: values, vocabSize: states.vocabSize)
    }

    /// Returns all logits. They are valid until the next forward. The memory has room for `room` rows.
    mutating func all(_ states: FinalStates, room: Int, _ team: ThreadTeam) throws(LLaDAError) -> StoredLogits {
        let base = try begin(states, room: room)
        if stored(states) == nil {
            try states.allLogits(rows: states.count, team, into: base)
            known?.update(repeating: true, count: states.count)
        }
        return StoredLogits(values: UnsafePointer(base), vocabSize: states.vocabSize)
    }

    /// Returns the logits of a row, [vocab]. They are valid until the next forward.
    mutating func row(
        _ row: Int, _ states: FinalStates, room: Int, _ team: ThreadTeam
    ) throws(LLaDAError) -> UnsafePointer<Float> {
        let base = try begin(states, room: room)
        if let known, !known[row] {
            let rows = asking.next(row, of: 0..<states.count) { known[$0] }
            let place = base + rows.lowerBound * states.vocabSize
            try states.slice(rows).allLogits(rows: rows.count, team, into: place)
            (known + rows.lowerBound).update(repeating: true, count: rows.count)
        }
        return UnsafePointer(base + row * states.vocabSize)
    }

    private mutating func begin(_ states: FinalStates, room: Int) throws(LLaDAError) -> UnsafeMutablePointer<Float> {
        let rows = max(states.count, room)
        let base = try scratch.reserve(rows * states.vocabSize)
        values = UnsafePointer(base)
        if known == nil {
            known = try knownScratch.reserve(rows)
            known?.update(repeating: false, count: rows)
        }
        return base
    }
}
