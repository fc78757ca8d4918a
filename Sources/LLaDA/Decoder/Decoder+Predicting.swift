/// The way from the model's states to predictions.
extension Decoder {
    /// Prepares a forward, in which other decoders have `others` rows: the first phase. If a later phase fails, the
    /// decoder has no predictions.
    func prepareForward(beside others: Int = 0) throws(LLaDAError) {
        pending = nil
        try checkUnfinished("forward")
        try cancellation.check()
        if !state.options.useCache { sequence.reset() }
        state.phase = .ready
        state.proposal.removeAll(keepingCapacity: true)
        let selection = try selectRows()
        state.predictions.clear()
        logitRows.clear()
        isWatched = rule != nil || wasAsked
        wasAsked = false
        pending = try sequence.prepare(
            state.canvas.tokens, active: state.active, asOneBlock: state.isWindow, selection: selection,
            rider: rider(beside: others, selection), keepsInexact: state.policy.refresh.map { !$0.exact } ?? false)
    }

    /// Returns the block that runs along with the next forward, because the active one may be left by it; empty if none
    /// does. If the forward changes nothing, the rider's first forward has been run: it has seen the final tokens.
    private func rider(beside others: Int, _ selection: [Bool]?) -> Range<Int> {
        let next = state.active.upperBound..<state.active.upperBound + blockLength
        let none = next.lowerBound..<next.lowerBound
        guard riding != .never, state.options.useCache, !state.isEditingBlocks, next.upperBound <= state.canvas.count,
            2 * blockLength <= Batch.mostRows(blockLength: blockLength), !sequence.isObserved,
            selection == nil || state.policy.refresh?.exact == false, policy.mayLeave(state),
            !state.hasEnd(state.active), next.contains(where: state.canvas.isOpenMask)
        else { return none }
        if riding == .always { return next }
        return sequence.denoiser.cost.pays(
            rider: next.count, rows: selection?.count(where: { $0 }) ?? state.active.count, others: others,
            seen: next.upperBound) ? next : none
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

    /// Makes room for the predictions of the last forward: the adjustments of all rows, and no prediction yet, but of
    /// rows that did not run, where they were judged under the same adjustment.
    func beginPredictions() throws(LLaDAError) {
        var predictions = Predictions()
        swap(&predictions, &state.predictions)  // the policy looks at the state meanwhile
        defer { state.predictions = predictions }
        try predictions.begin(state.active, room: mostActive)
        for position in state.active {
            var adjustment = LogitAdjustment(
                position: position, banned: state.bans.tokens(at: position), biases: state.biases.list(at: position))
            policy.adjust(&adjustment, at: position, state)
            let row = position - state.active.lowerBound
            if let selection = pending?.selection, !selection[row] {
                let isSame = state.kept.adjustments[row] == adjustment
                var entry = isSame ? state.kept[row] : Predictions.Entry()
                entry.isComputed = false
                predictions[row] = entry
            }
            predictions.adjustments.append(adjustment)
        }
    }

    /// Whether a row of the last forward is to be judged with it: the policy reads its prediction, or somebody is there
    /// who may. A draw is made of all rows.
    func isRead(_ row: Int) -> Bool {
        let position = state.active.lowerBound + row
        return isWatched || state.policy.temperature > 0 || policy.reads(position, state)
            || (state.policy.refresh.map { $0.below > 0 } ?? false && state.canvas.state(position) == .draft)
    }

    /// Makes predictions again after a change of bans or biases. This is no forward: a request to cancel waits for the
    /// next one.
    func predictAgain() throws(LLaDAError) {
        let before = state.predictions
        do throws(LLaDAError) {
            try beginPredictions()
            for row in 0..<before.positions.count { state.predictions[row].isComputed = before.computed[row] }
            try judge { before.judged[$0] }
        } catch {
            state.predictions = before
            throw error
        }
    }

    /// Judges the rows that nobody has asked for so far. Later forwards judge all rows at once, as long as somebody
    /// asks after each of them.
    func judgeRest() throws(LLaDAError) {
        wasAsked = true
        if state.predictions.judged.allSatisfy({ $0 }) { return }
        try state.predictions.makeOwn(room: mostActive)
        try judge { _ in true }
    }

    private func judge(_ wants: (Int) -> Bool) throws(LLaDAError) {
        let work = try confidence.compute.workspaces.take()
        defer { confidence.compute.workspaces.giveBack(work) }
        try Self.judge(0..<1, { _ in self }, work) { _, row in wants(row) }
    }

    /// Judges rows of the last forwards of some decoders, in one pass of the head: those that `wants` names, by decoder
    /// and row, and that have no prediction. Decoders that draw are judged one by one.
    static func judge(
        _ range: Range<Int>, _ decoder: (Int) -> Decoder?, _ work: Workspace, cancellations: [Cancellation] = [],
        _ wants: (Decoder, Int) -> Bool
    ) throws(LLaDAError) {
        var (room, count) = (0, 0)
        var first: (decoder: Decoder, states: FinalStates)?
        for index in range {
            guard let decoder = decoder(index), let states = decoder.sequence.states else { continue }
            if decoder.state.policy.temperature > 0 {
                try decoder.draw(work) { wants(decoder, $0) }
                continue
            }
            room += decoder.mostActive
            first = first ?? (decoder, states)
        }
        guard let first else { return }
        let rows = try first.states.reserve(in: work.judged, rows: room)
        work.adjustments.removeAll(keepingCapacity: true)
        try work.adjustments.reserve(room)
        func forEachRow(_ body: (Decoder, FinalStates, Int) -> Void) {
            for index in range {
                guard let decoder = decoder(index), let states = decoder.sequence.states,
                    decoder.state.policy.temperature == 0
                else { continue }
                for row in 0..<decoder.state.predictions.positions.count
                where !decoder.state.predictions.judged[row] && wants(decoder, row) { body(decoder, states, row) }
            }
        }
        forEachRow { decoder, states, row in
            states.copy(row: row, to: rows + count * states.width)
            work.adjustments.append(decoder.state.predictions.adjustments[row])
            count += 1
        }
        let tokens = try work.tokens.reserve(room)
        let confidences = try work.confidences.reserve(room)
        let judged = try first.states.others(in: work.judged, rows: count, room: room)
        var adjustments: [LogitAdjustment] = []
        swap(&adjustments, &work.adjustments)
        defer { swap(&adjustments, &work.adjustments) }
        try first.decoder.confidence.predict(
            judged, adjust: adjustments, room: room, cancellations: cancellations, work, tokens: tokens,
            confidences: confidences)
        count = 0
        forEachRow { decoder, _, row in
            decoder.state.predictions.note(tokens[count], confidences[count], row: row)
            count += 1
            decoder.sequence.judgedPositions += 1
        }
    }

    /// Draws tokens for the rows that `wants` names and that have no prediction.
    private func draw(_ work: Workspace, _ wants: (Int) -> Bool) throws(LLaDAError) {
        guard let states = sequence.states else { return }
        let numbers = state.policy
        let logits = try logitRows.all(states, room: mostActive, confidence.compute.team)
        let sampler = Sampler(temperature: numbers.temperature, topK: numbers.topK, topP: numbers.topP)
        let random = Philox(seed: numbers.seed)
        let (first, forward) = (state.predictions.positions.lowerBound, state.counters.forwards)
        let positions = state.canvas.states.baseAddress.map { $0 + first }  // [active]
        let tokens = try work.tokens.reserve(mostActive)
        let confidences = try work.confidences.reserve(mostActive)
        try confidence.draw(
            sampler, logits: logits, adjust: state.predictions.adjustments,
            uniform: { random.uniform(forward: forward, position: first + $0) },
            states: policy.drawsOnlyMasks ? positions : nil, tokens: tokens, confidences: confidences)
        for row in 0..<state.predictions.positions.count where !state.predictions.judged[row] && wants(row) {
            state.predictions.note(tokens[row], confidences[row], row: row)
            sequence.judgedPositions += 1
        }
    }
}

/// The logits of all rows of a forward, computed at the first use.
struct LogitRows {
    private var scratch: Scratch<Float>  // [rows, vocab]
    private var isFilled = false

    init(in budget: MemoryBudget) { scratch = Scratch(in: budget) }

    mutating func clear() { isFilled = false }

    /// Returns the logits, [states.count, vocab]. They are valid until the next forward. The memory has room for `room`
    /// rows.
    mutating func all(
        _ states: FinalStates, room: Int, _ team: ThreadTeam
    ) throws(LLaDAError) -> UnsafePointer<Float> {
        let base = try scratch.reserve(max(states.count, room) * states.vocabSize)
        if !isFilled { try states.allLogits(rows: states.count, team, into: base) }
        isFilled = true
        return UnsafePointer(base)
    }
}
