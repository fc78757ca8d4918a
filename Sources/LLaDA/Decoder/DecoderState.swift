/// The whole state of a decoder at a moment. A fork begins with a copy of it, and a snapshot is its bytes
/// (`DecoderState+Code`).
struct DecoderState {
    /// The options, with the numbers of the policy.
    var options: Decoder.Options
    let eosIDs: Set<Int32>
    /// The tokens that stand for edits in predictions; nil: the model has none.
    let editTokens: EditTokens?
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
    /// The predictions before those of the forward at hand, of which a forward over a part of the rows keeps the
    /// others.
    var kept = Predictions()
    /// The edits that `apply` will write, in the order of `Edit.isBefore`.
    var proposal: [Decoder.Edit] = []
    /// The changes of the last `apply`, after those that the host had made since the `apply` before.
    var events: [Decoder.Event] = []
    /// The changes that the host has made since the last `apply`.
    var hostEvents: [Decoder.Event] = []
    var bans = Bans()
    var biases = Biases()
    /// The active tokens before the step that is being written.
    var before: [Int32] = []
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
        /// The number of tokens, or masks, that were put in, and of those that were taken out.
        var insertions = 0
        var deletions = 0
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
        /// What steps wrote in the active block, -1 where nothing; for policies that ask.
        var written = SeenBlocks()
        /// The number of open masks with which the block began.
        var originalMasks = 0
        /// Whether the step that is being written is the last that edits.
        var isFinal = false
        /// Whether only a forward over the final tokens is left of the block.
        var isClosing = false
        /// The step in which the token of each row was last found changed, for policies that refresh a part of the
        /// rows.
        var changed: [Int32] = []
        /// The tokens with which the rows last ran, likewise.
        var ran: [Int32] = []
        /// The rounds of multi-block editing done; nil before the block has left its loop.
        var editingRounds: Int?

        /// Begins a block.
        mutating func begin(_ block: Int) {
            var fresh = BlockProgress()
            swap(&fresh.seen, &seen)  // keeps its memory
            fresh.seen.removeAll()
            swap(&fresh.changed, &changed)
            fresh.changed.removeAll(keepingCapacity: true)
            swap(&fresh.ran, &ran)
            fresh.ran.removeAll(keepingCapacity: true)
            swap(&fresh.written, &written)
            fresh.written.removeAll()
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

        /// The number of bans, those of all positions counted at each position that has some of its own.
        var count: Int { at.values.reduce(everywhere.count) { $0 + $1.count + everywhere.count + 4 } }

        /// Returns the tokens banned at a position, equal lists for equal bans.
        func tokens(at position: Int) -> [Int32] {
            lists.isEmpty ? everywhereList : lists[position] ?? everywhereList
        }

        private mutating func list() {
            everywhereList = everywhere.sorted()
            lists = at.mapValues { everywhereList + $0.sorted() }
        }
    }

    init(options: Decoder.Options, canvas: Canvas, eosIDs: Set<Int32>, editTokens: EditTokens?) {
        self.options = options
        self.canvas = canvas
        self.eosIDs = eosIDs
        self.editTokens = editTokens
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

    /// Takes the memory that steps need, which is then not shared with a copy: for a write and an insertion at each
    /// position, and for as many states of a block as the policy expects. Throws `.outOfMemory`.
    mutating func reserveCapacity(mostActive: Int, _ policy: any DecodingPolicy) throws(LLaDAError) {
        let blockLength = options.blockLength
        let states = policy.expectedStates(blockLength: blockLength)
        let most = max(blockLength, 1 << 16)
        let (seen, written) = (min(states.seen * blockLength, most), min(states.written * blockLength, most))
        let tokens =
            2 * blockLength + mostActive + max(seen, progress.seen.count) + max(written, progress.written.count)
        let room = try Reserve.Room(
            64 * 6 + 2 * mostActive * (MemoryLayout<Decoder.Edit>.stride + 2 * MemoryLayout<Decoder.Event>.stride)
                + tokens * MemoryLayout<Int32>.stride)
        defer { room.close() }
        proposal.reserveCapacity(2 * mostActive)
        if self.policy.refresh != nil {
            progress.changed.reserveCapacity(blockLength)
            progress.ran.reserveCapacity(blockLength)
        }
        events.reserveCapacity(2 * mostActive)
        hostEvents.reserveCapacity(2 * mostActive)
        before.reserveCapacity(mostActive)
        progress.seen.reserveCapacity(seen)
        progress.written.reserveCapacity(written)
    }
}

extension DecoderState {
    /// How many bytes copies of all lists take, and all of them as a snapshot, in arrays that double.
    var byteCount: Int {
        let rows = predictions.positions.count + kept.positions.count
        let lists = proposal.count + events.count + hostEvents.count + rows
        let banned = bans.everywhere.count + bans.at.values.reduce(0) { $0 + 4 + $1.count }
        let seen = progress.seen.count + progress.written.count
        let everywhere = bans.everywhere.count + biases.everywhere.count
        return 64 * canvas.count + 512 * lists + 64 * (banned + eosIDs.count) + 128 * biases.count
            + 64 * (seen + rows * everywhere)
    }
}

/// What policies ask.
extension DecoderState {
    /// The numbers of the policy.
    var policy: Policy {
        get { options.policy ?? .quality }
        set { options.policy = newValue }
    }

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

/// The way from block to block.
extension DecoderState {
    /// Makes the predictions, if there are any, those that a forward over a part of the rows keeps.
    mutating func keepPredictions() {
        if !predictions.positions.isEmpty { swap(&predictions, &kept) }
        predictions.clear()
    }

    /// Makes everything before `end` final.
    mutating func settle(upTo end: Int) {
        canvas.settle(settledLength..<max(settledLength, end))
        settledLength = max(settledLength, end)
    }

    /// Makes a block active, at the beginning of its loop.
    mutating func enter(_ block: Int) {
        active = canvas.block(block)
        canvas.noteOriginal(active)
        progress.begin(block)
        progress.originalMasks = active.count(where: canvas.isOpenMask)
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
        kept.clear()
        proposal.removeAll(keepingCapacity: true)
        events.removeAll(keepingCapacity: true)
        blockEnds = nil
        hostEvents.removeAll { $0.position >= position }
    }
}
