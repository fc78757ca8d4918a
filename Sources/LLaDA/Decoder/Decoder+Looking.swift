/// What a host may see, at any time.
extension Decoder {
    /// The options of the decoder, whose policy is not nil. It may differ from that of the origin of a fork.
    public var options: Options { state.options }
    /// The call that is next.
    public var phase: Phase { state.phase }
    public var isFinished: Bool { state.phase == .finished }
    /// Why decoding has finished; `.none` before.
    public var finishReason: FinishReason { state.finishReason }
    public var blockLength: Int { state.options.blockLength }
    /// The number of tokens of the prompt.
    public var promptLength: Int { state.canvas.promptLength }
    /// The number of positions: a multiple of the block length.
    public var canvasLength: Int { state.canvas.count }
    /// The positions that the next, or current, forward is about.
    public var active: Range<Int> { state.active }
    /// The number of leading positions that are final.
    public var settledLength: Int { state.settledLength }
    /// The number of steps done in the active block.
    public var blockStep: Int { state.progress.step }
    /// Whether the current step revisits finished blocks (multi-block editing).
    public var isEditingBlocks: Bool { state.isEditingBlocks }

    /// The number of denoising forwards, as the papers count them for tokens per forward. It includes multi-block
    /// editing.
    public var forwards: Int { state.counters.forwards }
    /// The number of forwards that only computed K/V of finished blocks.
    public var commits: Int { state.counters.commits }
    /// The number of forwards that only computed K/V of the prompt.
    public var prefills: Int { state.counters.prefills }
    /// The number of tokens that replaced another token.
    public var edits: Int { state.counters.edits }
    /// The number of tokens, and of masks, that were put in.
    public var insertions: Int { state.counters.insertions }
    /// The number of tokens, and of masks, that were taken out.
    public var deletions: Int { state.counters.deletions }
    /// The number of denoising forwards that have run through the model. Those of `forwards` that are missing ran along
    /// in the one before them. It begins at 0 in a fork.
    public var computedForwards: Int { sequence.computedForwards }
    /// The number of positions whose logits were judged. It begins at 0 in a fork.
    public var judgedPositions: Int { sequence.judgedPositions }
    /// The number of positions that have run through the model.
    public var computedPositions: Int { sequence.computedPositions }
    /// The number of positions whose K/V came from a prefix cache.
    public var reusedPositions: Int { sequence.reusedPositions }

    /// All tokens: [canvasLength]. The address stays the same for the decoder's life.
    public var canvas: UnsafeBufferPointer<Int32> { state.canvas.tokens }
    /// The raw value of each position's `PositionState`: [canvasLength].
    public var states: UnsafeBufferPointer<UInt8> { state.canvas.states }
    /// The step map, [canvasLength]: the number of forwards before each token was last written; 0 where none was.
    public var stepMap: UnsafeBufferPointer<Int32> { state.canvas.written }
    /// Whether each position is locked: [canvasLength].
    public var locked: UnsafeBufferPointer<Bool> { state.canvas.locked }

    /// The generated tokens, up to and including the first end-of-sequence token, else all of them. Before the end,
    /// only the settled ones.
    public var output: [Int32] {
        let first = state.canvas.promptLength
        let end = isFinished ? state.answerEnd : min(state.answerEnd, max(first, settledLength))
        let generated = state.canvas.tokens[first..<end]
        if let stop = generated.firstIndex(where: state.eosIDs.contains) { return Array(generated[...stop]) }
        return Array(generated)
    }

    /// The predicted tokens and confidences of the last forward, for its positions from `first` on; nil before the
    /// first forward. The buffers are valid until the next call that changes the decoder.
    ///
    /// A forward predicts what the policy reads. The rest is predicted when this is asked for, and from then on with
    /// each forward, as long as somebody asks after it or a rule is there. Throws `.numeric` and `.outOfMemory`.
    public var predictions: (first: Int, tokens: UnsafeBufferPointer<Int32>, confidences: UnsafeBufferPointer<Float>)? {
        get throws(LLaDAError) {
            if state.predictions.positions.isEmpty { return nil }
            wasAsked = true  // later forwards judge all rows at once, as long as somebody asks after each of them
            try judgeRest()
            let predictions = state.predictions
            return (predictions.positions.lowerBound, predictions.tokens, predictions.confidences)
        }
    }

    /// Whether each position of the last forward, from `active.lowerBound` of that forward on, ran through the model.
    /// Others have what their last forward gave; there are some only with a policy that refreshes a part of the rows.
    /// Empty before the first forward. The buffer is valid as `predictions` is.
    public var computed: UnsafeBufferPointer<Bool> { state.predictions.computed }

    /// Returns the most likely tokens at a position of the last forward, with biases, bans and penalty applied, without
    /// temperature: the best first, of equals the lower id first; fewer than `count` if others are banned. Throws
    /// `.state` before the first forward, and `.invalidArgument` for another position.
    ///
    /// They are at hand if `keepCandidates` has asked for as many before the forward, or if somebody asked after the
    /// forward before. Else the head of the model runs again over the position's row, and over those of its neighbours
    /// if more positions are asked for.
    public func candidates(at position: Int, count: Int) throws(LLaDAError) -> [Candidate] {
        let found = try viewCandidates(at: position, count: count)
        let room = try Reserve.Room(64 + found.count * MemoryLayout<Candidate>.stride)
        defer { room.close() }
        return Array(found)
    }

    /// The same without a copy: valid until the next call that asks for candidates, or changes the decoder.
    package func viewCandidates(
        at position: Int, count: Int
    ) throws(LLaDAError) -> UnsafeBufferPointer<Candidate> {
        let (states, row) = try look(at: position)
        let count = min(count, states.vocabSize)
        if count <= 0 { return UnsafeBufferPointer(start: nil, count: 0) }
        askedCount = max(askedCount, count)
        if let known = keptCandidates.first(count, row: row) { return known }
        if !keptCandidates.hasRoom(for: count, row: row) {
            let rows = count > Self.mostKept ? row..<row + 1 : 0..<states.count
            try keptCandidates.begin(max(count, gatheredCount), rows: rows, room: rows.count)
        }
        let rows = keptCandidates.next(row)
        let work = try confidence.compute.workspaces.take()
        defer { confidence.compute.workspaces.giveBack(work) }
        if let stored = logitRows.stored(states) {
            try judge(stored.slice(rows), rows, work)
        } else {
            try judge(states.slice(rows), rows, work)
        }
        return keptCandidates.first(count, row: row) ?? UnsafeBufferPointer(start: nil, count: 0)
    }

    /// Keeps the candidates of some rows.
    private func judge(_ source: some LogitSource, _ rows: Range<Int>, _ work: Workspace) throws(LLaDAError) {
        try confidence.candidates(
            source, rows: rows.count, first: rows.lowerBound, adjust: state.predictions.adjustments,
            count: keptCandidates.count, work
        ) { (index, peak, best) throws(LLaDAError) in
            keptCandidates.keep(rows.lowerBound + index, peak, best, index)
        }
    }

    /// The most tokens that `keepCandidates` takes.
    public static let mostKept = 1024

    /// Says that the `count` most likely tokens at each active position are to be kept, from the next forward on: then
    /// `candidates` costs nothing, and the forward little more. 0 keeps none. A fork keeps as many. Throws
    /// `.invalidArgument` for less than 0 or more than `mostKept`.
    public func keepCandidates(_ count: Int) throws(LLaDAError) {
        guard 0...Self.mostKept ~= count else {
            throw LLaDAError(.invalidArgument, "count is \(count); expected 0 to \(Self.mostKept)")
        }
        keptCount = min(count, confidence.vocabSize)
    }

    /// Returns the unchanged logits at a position of the last forward: [vocab]. They are valid until the next forward.
    /// Throws `.state` before the first forward, and `.invalidArgument` for another position. The first use computes
    /// the position's row, and later ones those of its neighbours, too.
    public func logits(at position: Int) throws(LLaDAError) -> UnsafeBufferPointer<Float> {
        let (states, row) = try look(at: position)
        let logits = try logitRows.row(row, states, room: mostActive, confidence.compute.team)
        return UnsafeBufferPointer(start: logits, count: states.vocabSize)
    }

    /// Returns the states of the last forward, and the row of a position.
    private func look(at position: Int) throws(LLaDAError) -> (states: FinalStates, row: Int) {
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
        return (states, position - positions.lowerBound)
    }

    /// The edits that `apply` will write; nil if there is no proposal.
    public var proposal: [Edit]? { state.phase == .proposed ? state.proposal : nil }
    /// The changes of the last `apply`, after those that the host had made since the `apply` before.
    public var events: [Event] { state.events }
}
