/// The whole state of a decoder at a moment. A fork begins with a copy of it, and a snapshot is its bytes
/// (`DecoderState+Code`).
struct DecoderState {
    /// The options, with the numbers of the policy.
    var options: Decoder.Options
    let eosIDs: Set<Int32>
    var canvas: Canvas
    var phase = Decoder.Phase.ready
    var finishReason = Decoder.FinishReason.none
    /// The positions that the next, or current, forward is about.
    var active = 0..<0
    /// The number of leading positions that are final.
    var settledLength = 0
    /// The latest end of the answer.
    var answerEnd: Int
    var counters = Counters()
    var progress = BlockProgress()
    /// The predictions of the last forward.
    var predictions = Predictions()
    /// The edits that `apply` will write.
    var proposal: [Decoder.Edit] = []
    /// The changes of the last `apply`, after those that the host had made since the `apply` before.
    var events: [Decoder.Event] = []
    /// The changes that the host has made since the last `apply`.
    var hostEvents: [Decoder.Event] = []
    var bans = Bans()
    var biases = Biases()
    /// Whether the active block ends with the next `apply`; nil lets the policy decide. Each `apply` resets it.
    var blockEnds: Bool?

    struct Counters: Equatable {
        /// The number of denoising forwards, as the papers count them for tokens per forward. It includes multi-block
        /// editing.
        var forwards = 0
        /// The number of forwards that only computed K/V of finished blocks.
        var commits = 0
        /// The number of forwards that only computed K/V of the prompt.
        var prefills = 0
        /// The number of tokens that replaced another token.
        var edits = 0
    }

    /// The progress of the active block's loop.
    struct BlockProgress {
        var block = 0
        var step = 0
        /// The number of steps done without a mask.
        var postSteps = 0
        /// Whether the step before changed nothing; then the next step may not predict the mask.
        var isStuck = false
        /// Whether the block came back to a state it had been in; then no further step may predict the mask.
        var isGoingRound = false
        /// Whether the block of this step is in `seen` already: a forward may be repeated.
        var isNoted = false
        /// What the active block has held.
        var seen = SeenBlocks()
        /// The rounds of multi-block editing done; nil before the block has left its loop.
        var editingRounds: Int?

        /// Begins a block.
        mutating func begin(_ block: Int) {
            var fresh = BlockProgress()
            swap(&fresh.seen, &seen)  // keeps its memory
            fresh.seen.removeAll()
            fresh.block = block
            self = fresh
        }
    }

    /// The tokens that the host does not want predicted.
    struct Bans {
        var everywhere: Set<Int32> = [] { didSet { list() } }
        var at: [Int: Set<Int32>] = [:] { didSet { list() } }  // by position
        private var everywhereList: [Int32] = []
        private var lists: [Int: [Int32]] = [:]  // by position, of all tokens banned there

        /// Returns the tokens banned at a position.
        func tokens(at position: Int) -> [Int32] {
            lists.isEmpty ? everywhereList : lists[position] ?? everywhereList
        }

        private mutating func list() {
            everywhereList = Array(everywhere)
            lists = at.mapValues { everywhereList + $0 }
        }
    }

    init(options: Decoder.Options, canvas: Canvas, eosIDs: Set<Int32>) {
        self.options = options
        self.canvas = canvas
        self.eosIDs = eosIDs
        answerEnd = canvas.promptLength + options.genLength
    }

    /// Returns a copy with a canvas of its own. Predictions are shared until one of the two makes new ones.
    func copy() throws(LLaDAError) -> DecoderState {
        var copy = self
        copy.canvas = try Canvas(copying: canvas)
        return copy
    }

    /// The most positions that are active at a time: a block, or a window.
    func mostActive(_ policy: any DecodingPolicy) -> Int {
        min((policy.openBlocks + 1) * options.blockLength, canvas.count)
    }

    /// Takes the memory that steps need, which is then not shared with a copy. A block is rarely in more states than
    /// there is room for: twice its length, and at least 64.
    mutating func reserveCapacity(mostActive: Int) {
        proposal.reserveCapacity(mostActive)
        events.reserveCapacity(mostActive)
        hostEvents.reserveCapacity(mostActive)
        let blockLength = options.blockLength
        progress.seen.reserveCapacity(min(max(2 * blockLength, 64) * blockLength, max(blockLength, 1 << 16)))
    }
}

/// What policies ask.
extension DecoderState {
    var isEditingBlocks: Bool { progress.editingRounds != nil }

    /// Whether the active positions, of several blocks, see each other.
    var isWindow: Bool { active.count > options.blockLength }

    /// Whether there are masks among the active positions that a policy may fill.
    var hasOpenMasks: Bool { active.contains(where: canvas.isOpenMask) }

    /// Whether there are tokens among the active positions that a policy may edit.
    var hasEditable: Bool { active.contains(where: canvas.isEditable) }

    func hasEnd(_ range: Range<Int>) -> Bool { range.contains { eosIDs.contains(canvas.token($0)) } }

    /// The position after the first end-of-sequence token; nil if there is none, or if a position before it is masked.
    var endOfAnswer: Int? {
        for position in canvas.promptLength..<canvas.count {
            if eosIDs.contains(canvas.token(position)) { return position + 1 }
            if canvas.state(position) == .masked { return nil }
        }
        return nil
    }

    /// The generated positions, up to the end of the active block.
    var generated: Range<Int> {
        let end = canvas.block(progress.block).upperBound
        return min(canvas.promptLength, end)..<end
    }
}

/// What steps do.
extension DecoderState {
    /// Writes and clears the proposal. Its changes, after those that the host had made, are the events of the step.
    mutating func writeProposal() -> AppliedStep {
        let hadMasks = hasOpenMasks
        swap(&events, &hostEvents)
        hostEvents.removeAll(keepingCapacity: true)
        var changed = 0
        var wroteEnd = false
        for index in proposal.indices where !canvas.locked[proposal[index].position] {
            let edit = proposal[index]
            guard let event = write(edit) else { continue }
            events.append(event)
            changed += 1
            wroteEnd = wroteEnd || eosIDs.contains(edit.token)
        }
        proposal.removeAll(keepingCapacity: true)
        phase = .ready
        progress.step += 1
        progress.isNoted = false
        return AppliedStep(hadMasks: hadMasks, changed: changed, wroteEnd: wroteEnd)
    }

    /// Writes one edit and returns its event; nil if it changed nothing.
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

    /// Makes everything before `end` final.
    mutating func settle(upTo end: Int) {
        canvas.settle(settledLength..<max(settledLength, end))
        settledLength = max(settledLength, end)
    }

    /// Makes a block active, at the beginning of its loop.
    mutating func enter(_ block: Int) {
        active = canvas.block(block)
        progress.begin(block)
    }

    /// Forgets all that was generated from `position` on, which is the start of a block, with its predictions, proposal
    /// and events.
    mutating func truncate(to position: Int) {
        canvas.truncate(to: position)
        settledLength = min(settledLength, position)
        answerEnd = canvas.promptLength + options.genLength
        finishReason = .none
        phase = .ready
        predictions.clear()
        proposal.removeAll(keepingCapacity: true)
        events.removeAll(keepingCapacity: true)
        blockEnds = nil
        hostEvents.removeAll { $0.position >= position }
    }
}
