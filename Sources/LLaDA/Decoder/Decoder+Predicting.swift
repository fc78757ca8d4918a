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
        keptCandidates.clear()
        // Who has looked at some after a forward will do so after the next one.
        gatheredCount = max(keptCount, min(askedCount, 64))
        askedCount = 0
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
        state.noteRan(pending?.selection)
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
        keptCandidates.clear()
        if gatheredCount > 0 { try keptCandidates.begin(gatheredCount, rows: 0..<state.active.count, room: mostActive) }
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
        return isWatched || gatheredCount > 0 || state.policy.temperature > 0 || policy.reads(position, state)
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
            keptCandidates.clear()
            throw error
        }
    }

    /// Judges the rows that nobody has asked for so far.
    func judgeRest() throws(LLaDAError) { try judgeMissing { _ in true } }

    /// Judges the rows that the policy reads now and did not read at the forward: the host may have masked or unlocked
    /// a position since, or have chosen another policy in a fork.
    func judgeRead() throws(LLaDAError) {
        let first = state.predictions.positions.lowerBound
        try judgeMissing { policy.reads(first + $0, state) }
    }

    private func judgeMissing(_ wants: (Int) -> Bool) throws(LLaDAError) {
        let judged = state.predictions.judged
        if judged.indices.allSatisfy({ judged[$0] || !wants($0) }) { return }
        try state.predictions.makeOwn(room: mostActive)
        try judge(wants)
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
        var (room, kept) = (0, 0)
        var one: Decoder?
        for index in range {
            guard let decoder = decoder(index), decoder.sequence.states != nil else { continue }
            if decoder.state.policy.temperature > 0 {
                try decoder.draw(work) { wants(decoder, $0) }
                continue
            }
            room += decoder.mostActive
            kept = max(kept, decoder.gatheredCount)
            one = one ?? decoder
        }
        guard let one, let head = one.sequence.states else { return }
        /// Returns the first row from `row` of the decoder `index` on that is to be judged.
        func next(_ index: Int, _ row: Int) -> (index: Int, row: Int)? {
            var (index, row) = (index, row)
            while index < range.upperBound {
                if let decoder = decoder(index), decoder.sequence.states != nil, decoder.state.policy.temperature == 0 {
                    let predictions = decoder.state.predictions
                    while row < predictions.positions.count {
                        if !predictions.judged[row], wants(decoder, row) { return (index, row) }
                        row += 1
                    }
                }
                (index, row) = (index + 1, 0)
            }
            return nil
        }
        /// Calls `body` with each row that is to be judged, and with its number.
        func forEachRow(_ body: (Decoder, Int, Int) -> Void) {
            var (index, row, number) = (range.lowerBound, 0, 0)
            while let place = next(index, row) {
                if let decoder = decoder(place.index) { body(decoder, place.row, number) }
                (index, row, number) = (place.index, place.row + 1, number + 1)
            }
        }
        let rows = try head.reserve(in: work.judged, rows: room)
        work.adjustments.removeAll(keepingCapacity: true)
        try work.adjustments.reserve(room)
        forEachRow { decoder, row, number in
            decoder.sequence.states?.copy(row: row, to: rows + number * head.width)
            work.adjustments.append(decoder.state.predictions.adjustments[row])
        }
        let tokens = try work.tokens.reserve(room)
        let confidences = try work.confidences.reserve(room)
        let judged = try head.others(in: work.judged, rows: work.adjustments.count, room: room)
        var adjustments: [LogitAdjustment] = []
        swap(&adjustments, &work.adjustments)
        defer { swap(&adjustments, &work.adjustments) }
        var (index, from) = (range.lowerBound, 0)  // where the next row that is judged is looked for
        try one.confidence.predict(
            judged, adjust: adjustments, best: kept, room: room, cancellations: cancellations, work, tokens: tokens,
            confidences: confidences
        ) { (number, peak, best) throws(LLaDAError) in
            guard let place = next(index, from), let decoder = decoder(place.index) else { return }
            (index, from) = (place.index, place.row + 1)
            if decoder.gatheredCount > 0 { decoder.keptCandidates.keep(place.row, peak, best, number) }
        }
        forEachRow { decoder, row, number in
            decoder.state.predictions.note(tokens[number], confidences[number], row: row)
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
            sampler, logits: logits, adjust: state.predictions.adjustments, best: gatheredCount, room: mostActive,
            uniform: { random.uniform(forward: forward, position: first + $0) },
            states: policy.drawsOnlyMasks ? positions : nil, work, tokens: tokens, confidences: confidences
        ) { (row, peak, best) throws(LLaDAError) in keptCandidates.keep(row, peak, best, row) }
        for row in 0..<state.predictions.positions.count where !state.predictions.judged[row] && wants(row) {
            state.predictions.note(tokens[row], confidences[row], row: row)
            sequence.judgedPositions += 1
        }
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
