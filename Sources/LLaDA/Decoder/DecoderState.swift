/// All that a decoder is at a moment. A fork begins with a copy of it, and a snapshot is its bytes
/// (`DecoderState+Code`).
struct DecoderState {
    /// Among them the numbers of the policy.
    var options: Decoder.Options
    let eosIDs: Set<Int32>
    var canvas: Canvas
    var phase = Decoder.Phase.ready
    var finishReason = Decoder.FinishReason.none
    /// The positions that the next, or current, forward is about.
    var active = 0..<0
    /// Positions before this one are final.
    var settledLength = 0
    /// Where the answer ends at the latest.
    var answerEnd: Int
    var counters = Counters()
    var progress = BlockProgress()
    /// What the last forward made of its positions.
    var predictions = Predictions()
    /// What `apply` will write.
    var proposal: [Decoder.Edit] = []
    /// What the last `apply` changed, and what the host had changed since the one before.
    var events: [Decoder.Event] = []
    /// What the host has changed since the last `apply`.
    var hostEvents: [Decoder.Event] = []
    var bans = Bans()
    /// Whether the active block is done after the next `apply`; nil: the policy decides. Forgotten at each `apply`.
    var blockEnds: Bool?

    struct Counters: Equatable {
        /// Denoising forwards, as the papers count them for tokens per forward; those of block editing included.
        var forwards = 0
        /// Forwards run only to compute K/V of finished blocks.
        var commits = 0
        /// Forwards run only to compute K/V of the prompt.
        var prefills = 0
        /// Tokens that replaced another token.
        var edits = 0
    }

    /// Where the active block stands in its loop.
    struct BlockProgress {
        var block = 0
        var step = 0
        /// Steps done without a mask.
        var postSteps = 0
        /// The step before changed nothing: the next may not predict the mask.
        var isStuck = false
        /// The block came back to where it had been: no further step may predict the mask.
        var isGoingRound = false
        /// Of this step, the block is in `seen`: forwards may be repeated.
        var isNoted = false
        /// Blocks of tokens, [blockLength] each, that the active block has been.
        var seen: Set<[Int32]> = []
        /// Rounds of block editing done; nil before the block has left its loop.
        var editingRounds: Int?
    }

    /// Tokens that the host does not want predicted.
    struct Bans {
        var everywhere: Set<Int32> = []
        var at: [Int: Set<Int32>] = [:]  // by position
    }

    init(options: Decoder.Options, canvas: Canvas, eosIDs: Set<Int32>) {
        self.options = options
        self.canvas = canvas
        self.eosIDs = eosIDs
        answerEnd = canvas.promptLength + options.genLength
    }

    /// A copy whose canvas is its own; predictions are shared until one of the two makes new ones.
    func copy() throws(LLaDAError) -> DecoderState {
        var copy = self
        copy.canvas = try Canvas(copying: canvas)
        return copy
    }
}

/// What policies ask.
extension DecoderState {
    var isEditingBlocks: Bool { progress.editingRounds != nil }

    /// Whether the active positions, of several blocks, see each other.
    var isWindow: Bool { active.count > options.blockLength }

    /// Masks among the active positions that a policy may fill, ascending.
    var openMasks: [Int] { canvas.openMasks(in: active) }

    /// Tokens among the active positions that a policy may edit, ascending.
    var editable: [Int] { canvas.editable(in: active) }

    func hasEnd(_ range: Range<Int>) -> Bool { range.contains { eosIDs.contains(canvas.token($0)) } }

    /// Behind the first end-of-sequence token, if nothing before it is masked.
    var endOfAnswer: Int? {
        for position in canvas.promptLength..<canvas.count {
            if eosIDs.contains(canvas.token(position)) { return position + 1 }
            if canvas.state(position) == .masked { return nil }
        }
        return nil
    }

    /// What was generated, up to the end of the active block.
    var generated: Range<Int> {
        let end = canvas.block(progress.block).upperBound
        return min(canvas.promptLength, end)..<end
    }
}

/// What steps do.
extension DecoderState {
    /// Writes one edit; nil if it changed nothing.
    mutating func write(_ edit: Decoder.Edit) -> Decoder.Event? {
        let old = canvas.token(edit.position)
        guard let kind = canvas.write(edit.token, at: edit.position, afterForward: counters.forwards) else {
            return nil
        }
        if kind == .replace { counters.edits += 1 }
        return Decoder.Event(
            position: edit.position, kind: kind, oldToken: old, newToken: edit.token, confidence: edit.confidence,
            reason: edit.reason)
    }

    /// Everything before `end` is final.
    mutating func settle(upTo end: Int) {
        canvas.settle(settledLength..<max(settledLength, end))
        settledLength = max(settledLength, end)
    }

    /// Makes a block active, at the beginning of its loop.
    mutating func enter(_ block: Int) {
        active = canvas.block(block)
        progress = BlockProgress()
        progress.block = block
    }

    /// Forgets what was generated from `position` on, a block's start, and what was to be done with it.
    mutating func truncate(to position: Int) {
        canvas.truncate(to: position)
        settledLength = min(settledLength, position)
        answerEnd = canvas.promptLength + options.genLength
        finishReason = .none
        phase = .ready
        predictions.clear()
        (proposal, events, blockEnds) = ([], [], nil)
        hostEvents.removeAll { $0.position >= position }
    }
}
