/// A decoder as a snapshot has it, read and checked: whatever of it the decoder counts with or looks up is in its range.
struct DecoderRecord {
    let options: Decoder.Options
    let canvas: Canvas
    let active: Range<Int>
    let forwarded: Range<Int>
    /// [forwarded.count, hidden]; nil if nothing was forwarded.
    let finalStates: Buffer<Float>?
    private let phase: Decoder.Phase
    private let finishReason: Decoder.FinishReason
    private let settledLength: Int
    private let answerEnd: Int
    private let counters: [Int]  // forwards, commits, prefills, edits
    private let blockEnds: Bool?
    private let progress: Decoder.BlockProgress
    private let events: [Decoder.Event]
    private let pending: [Decoder.Event]
    private let proposal: [Decoder.Edit]
    private let bans: Decoder.Bans
    private let predictedTokens: [Int32]  // [forwarded.count]
    private let predictedConfidences: [Float]  // [forwarded.count]
    private let adjustments: [Confidence.Adjustment]  // [forwarded.count]

    /// Counters are far from where they would overflow.
    private static let mostCounted = 1 << 48

    init(_ reader: inout SnapshotReader, _ model: Model) throws(LLaDAError) {
        let config = model.config
        let vocabSize = config.vocabSize
        let maskID = try Self.ids(&reader, model)
        options = try Self.options(&reader)
        canvas = try Self.canvas(&reader, options, maskID, config)
        let count = canvas.count
        let blockLength = options.blockLength

        phase = try reader.value("the phase", as: Decoder.Phase.self)
        finishReason = try reader.value("the finish reason", as: Decoder.FinishReason.self)
        guard (phase == .finished) == (finishReason != .none) else {
            throw reader.error("the finish reason", "\(finishReason)", expected: "one that fits the phase, \(phase)")
        }
        active = try Self.range(&reader, "the active positions", within: count)
        guard active.lowerBound % blockLength == 0, active.upperBound % blockLength == 0,
            active.isEmpty == (count == 0),
            count > 0 || phase == .finished
        else { throw reader.error("the active positions", active, expected: "whole blocks") }
        settledLength = try reader.integer("the settled length", in: 0...active.upperBound)
        answerEnd = try reader.integer("the answer's end", in: canvas.promptLength...count)
        var counters: [Int] = []
        for name in ["forwards", "commits", "prefills", "edits"] {
            counters.append(try reader.integer(name, in: 0...Self.mostCounted))
        }
        self.counters = counters
        let ends = try reader.number("whether the block ends", as: Int8.self)
        guard -1...1 ~= ends else { throw reader.error("whether the block ends", ends, expected: "-1 to 1") }
        blockEnds = ends < 0 ? nil : ends == 1
        progress = try Self.progress(&reader, active, blockLength, vocabSize)
        events = try Self.events(&reader, count, vocabSize)
        pending = try Self.events(&reader, count, vocabSize)
        proposal = try Self.proposal(&reader, active, canvas, vocabSize)
        guard phase == .proposed || proposal.isEmpty else {
            throw reader.error("the proposal", "of \(proposal.count) edits", expected: "none in this phase")
        }
        bans = try Self.bans(&reader, count, vocabSize, maskID)

        forwarded = try Self.range(&reader, "the last forward", within: count)
        guard forwarded == active || (phase != .forwarded && phase != .proposed) else {
            throw reader.error("the last forward", forwarded, expected: "\(active), the active positions")
        }
        predictedTokens = try reader.tokens("a prediction", forwarded.count, vocabSize: vocabSize)
        var confidences: [Float] = []
        for _ in forwarded { confidences.append(try reader.float("a confidence")) }
        predictedConfidences = confidences
        adjustments = try Self.adjustments(&reader, forwarded.count, vocabSize)
        finalStates = try Self.states(&reader, forwarded.count * config.hiddenSize)
    }

    /// Puts a decoder of this record's options and canvas where the saved one was.
    func write(to decoder: Decoder) {
        (decoder.phase, decoder.finishReason, decoder.active) = (phase, finishReason, active)
        (decoder.settledLength, decoder.answerEnd) = (settledLength, answerEnd)
        (decoder.progress, decoder.blockEnds) = (progress, blockEnds)
        (decoder.forwards, decoder.commits, decoder.prefills, decoder.edits) = (
            counters[0], counters[1], counters[2], counters[3]
        )
        (decoder.events, decoder.pending, decoder.edited, decoder.bans) = (events, pending, proposal, bans)
        (decoder.forwarded, decoder.adjustments) = (forwarded, adjustments)
        decoder.predictedTokens.pointer.update(from: predictedTokens, count: forwarded.count)
        decoder.predictedConfidences.pointer.update(from: predictedConfidences, count: forwarded.count)
    }
}

// MARK: The parts, in their order

extension DecoderRecord {
    /// Those of mask and end decide as much as the weights do. Returns the mask's.
    private static func ids(_ reader: inout SnapshotReader, _ model: Model) throws(LLaDAError) -> Int32 {
        let maskID = try reader.token("the mask id", vocabSize: model.config.vocabSize)
        guard maskID == model.maskTokenID else {
            throw reader.error(
                "the mask id", maskID, expected: "\(model.maskTokenID.map(String.init) ?? "none"), the model's")
        }
        let ends = try list(&reader, "an id of end-of-sequence", model.config.vocabSize)
        let expected = Set(model.eosTokenIDs).sorted()
        guard ends == expected else {
            throw reader.error("the list of end-of-sequence ids", ends, expected: "\(expected), the model's")
        }
        return maskID
    }

    private static func options(_ reader: inout SnapshotReader) throws(LLaDAError) -> Decoder.Options {
        let most = Int(Int32.max)
        var options = Decoder.Options()
        options.blockLength = try reader.integer("block_length", in: 1...most)
        options.genLength = try reader.integer("gen_length", in: 0...most)
        options.eosEarlyStop = try reader.flag("eos_early_stop")
        options.infill = try reader.flag("infill")
        options.useCache = try reader.flag("use_cache")
        guard options.genLength > 0 || options.infill else {
            throw reader.error("gen_length", 0, expected: "at least 1 (0 if infilling)")
        }
        var policy = Policy(try reader.flag("the kind of policy") ? .jointThreshold : .lowConfidence)
        policy.threshold = try reader.float("threshold")
        policy.editingThreshold = try reader.float("editing_threshold")
        policy.penaltyLambda = try reader.float("penalty_lambda")
        policy.temperature = try reader.float("temperature")
        policy.topP = try reader.float("top_p")
        policy.steps = try reader.integer("steps", in: 0...most)
        policy.minimalTopk = try reader.integer("minimal_topk", in: 0...most)
        policy.maxPostSteps = try reader.integer("max_post_steps", in: 0...most)
        policy.numToTransfer = try reader.integer("num_to_transfer", in: 0...most)
        policy.mbeWindow = try reader.integer("mbe_window", in: 0...most)
        policy.mbeRounds = try reader.integer("mbe_rounds", in: 0...most)
        policy.topK = try reader.integer("top_k", in: 0...most)
        policy.seed = try reader.number("seed", as: UInt64.self)
        options.policy = policy
        let found = options
        try reader.check { () throws(LLaDAError) in try found.check(policy) }
        return options
    }

    private static func canvas(
        _ reader: inout SnapshotReader, _ options: Decoder.Options, _ maskID: Int32, _ config: ModelConfig
    ) throws(LLaDAError) -> Canvas {
        let promptLength = try reader.integer("prompt_length", in: 0...Int(Int32.max))
        let blockLength = options.blockLength
        try reader.check { () throws(LLaDAError) in
            try config.check(blockLength: blockLength, canvas: promptLength + options.genLength)
        }
        let count = (promptLength + options.genLength + blockLength - 1) / blockLength * blockLength
        let tokens = try reader.tokens("a token of the canvas", count, vocabSize: config.vocabSize)
        var states: [Decoder.PositionState] = []
        for position in 0..<count {
            let state = try reader.value("the state of position \(position)", as: Decoder.PositionState.self)
            let isOfPrompt = position < promptLength && (state == .prompt || options.infill)
            guard (state == .masked) == (tokens[position] == maskID),
                isOfPrompt || (position >= promptLength && state != .prompt)
            else {
                throw reader.error(
                    "the state of position \(position)", "\(state)", expected: "one that fits its token and place")
            }
            states.append(state)
        }
        let written = try reader.tokens("an entry of the step map", count, vocabSize: Int(Int32.max))
        var locked: [Bool] = []
        for _ in 0..<count { locked.append(try reader.flag("a lock")) }
        return try Canvas(
            tokens: tokens, states: states, written: written, locked: locked, promptLength: promptLength,
            blockLength: blockLength,
            maskID: maskID)
    }

    private static func progress(
        _ reader: inout SnapshotReader, _ active: Range<Int>, _ blockLength: Int, _ vocabSize: Int
    ) throws(LLaDAError) -> Decoder.BlockProgress {
        var progress = Decoder.BlockProgress()
        progress.block = max(active.upperBound / blockLength - 1, 0)
        progress.step = try reader.integer("the block's steps", in: 0...mostCounted)
        progress.postSteps = try reader.integer("the block's steps without a mask", in: 0...mostCounted)
        let rounds = try reader.integer("rounds of block editing", in: -1...mostCounted)
        progress.editingRounds = rounds < 0 ? nil : rounds
        guard rounds >= 0 || active.count <= blockLength else {
            throw reader.error(
                "the active positions", active, expected: "one block of \(blockLength), as no blocks are edited")
        }
        progress.isStuck = try reader.flag("whether the block is stuck")
        progress.isGoingRound = try reader.flag("whether the block goes round")
        progress.isNoted = try reader.flag("whether the step's block was noted")
        let seen = try reader.count("the number of states seen", ofSize: blockLength * MemoryLayout<Int32>.size)
        for _ in 0..<seen { progress.seen.insert(try reader.tokens("a token seen", blockLength, vocabSize: vocabSize)) }
        return progress
    }

    private static func events(
        _ reader: inout SnapshotReader, _ count: Int, _ vocabSize: Int
    ) throws(LLaDAError) -> [Decoder.Event] {
        var events: [Decoder.Event] = []
        for _ in 0..<(try reader.count("the number of events", ofSize: 28)) {
            events.append(
                Decoder.Event(
                    position: try position(&reader, within: 0..<count),
                    kind: try reader.value("an event's kind", as: Decoder.Event.Kind.self),
                    oldToken: try reader.token("an event's token", vocabSize: vocabSize),
                    newToken: try reader.token("an event's token", vocabSize: vocabSize),
                    confidence: try reader.float("an event's confidence"),
                    reason: try reader.value("an event's reason", as: Decoder.Reason.self)))
        }
        return events
    }

    private static func proposal(
        _ reader: inout SnapshotReader, _ active: Range<Int>, _ canvas: Canvas, _ vocabSize: Int
    ) throws(LLaDAError) -> [Decoder.Edit] {
        var edits: [Decoder.Edit] = []
        var next = active.lowerBound
        for _ in 0..<(try reader.count("the number of edits", ofSize: 20)) {
            let position = try position(&reader, within: next..<active.upperBound)
            guard canvas.state(position) != .prompt else {
                throw reader.error("an edit's position", position, expected: "none of the prompt")
            }
            next = position + 1
            edits.append(
                Decoder.Edit(
                    position: position, token: try reader.token("an edit's token", vocabSize: vocabSize),
                    confidence: try reader.float("an edit's confidence"),
                    reason: try reader.value("an edit's reason", as: Decoder.Reason.self)))
        }
        return edits
    }

    private static func bans(
        _ reader: inout SnapshotReader, _ count: Int, _ vocabSize: Int, _ maskID: Int32
    ) throws(LLaDAError) -> Decoder.Bans {
        var bans = Decoder.Bans()
        bans.everywhere = Set(try list(&reader, "a banned token", vocabSize))
        let always = bans.everywhere.union([maskID])
        var most = always.count
        var next = 0
        for _ in 0..<(try reader.count("the number of positions with bans", ofSize: 16)) {
            let position = try position(&reader, within: next..<count)
            next = position + 1
            let here = Set(try list(&reader, "a banned token", vocabSize))
            bans.at[position] = here
            most = max(most, always.count + here.reduce(0) { $0 + (always.contains($1) ? 0 : 1) })
        }
        guard most < vocabSize else {
            throw reader.error("the number of banned tokens", most, expected: "one that leaves something")
        }
        return bans
    }

    private static func adjustments(
        _ reader: inout SnapshotReader, _ count: Int, _ vocabSize: Int
    ) throws(LLaDAError) -> [Confidence.Adjustment] {
        var adjustments: [Confidence.Adjustment] = []
        var adjustment = Confidence.Adjustment()
        for index in 0..<count {
            let isTheSame = try reader.flag("whether bans repeat")
            guard index > 0 || !isTheSame else {
                throw reader.error("whether bans repeat", 1, expected: "0 at the first")
            }
            if !isTheSame {
                let banned = try reader.count("the number of tokens taken out", ofSize: MemoryLayout<Int32>.size)
                adjustment.banned = try reader.tokens("a token taken out", banned, vocabSize: vocabSize)
            }
            adjustment.penalty = nil
            if try reader.flag("whether there is a penalty") {
                adjustment.penalty = (
                    try reader.token("a penalised token", vocabSize: vocabSize), try reader.float("a penalty")
                )
            }
            adjustments.append(adjustment)
        }
        return adjustments
    }

    private static func states(_ reader: inout SnapshotReader, _ count: Int) throws(LLaDAError) -> Buffer<Float>? {
        if count == 0 { return nil }
        guard count <= reader.remaining / MemoryLayout<Float>.size else {
            throw reader.error("the states of the last forward", "cut off", expected: "\(count) numbers")
        }
        let states = try Buffer<Float>(count: count)
        try reader.bytes(
            "the states of the last forward",
            into: UnsafeMutableRawBufferPointer(start: states.pointer, count: states.byteCount))
        return states
    }

    /// Behind the record: of the sequence, not of the decoder.
    static func disabledExperts(
        _ reader: inout SnapshotReader, _ config: ModelConfig
    ) throws(LLaDAError) -> [(layer: Int, expert: Int)] {
        var mask = ExpertMask()
        for _ in 0..<(try reader.count("the number of experts switched off", ofSize: 16)) {
            let layer = try reader.integer("a layer", in: 0...config.numHiddenLayers - 1)
            let expert = try reader.integer("an expert", in: 0...max(config.numExperts - 1, 0))
            var next = mask
            try reader.check { () throws(LLaDAError) in try next.set(layer: layer, expert: expert, true, config) }
            mask = next
        }
        return mask.all
    }

    // MARK: Small ones

    private static func range(_ reader: inout SnapshotReader, _ what: String, within count: Int) throws(LLaDAError)
        -> Range<Int>
    {
        let start = try reader.integer(what, in: 0...count)
        return start..<(try reader.integer(what, in: start...count))
    }

    private static func position(_ reader: inout SnapshotReader, within range: Range<Int>) throws(LLaDAError) -> Int {
        let position = Int(clamping: try reader.number("a position", as: Int64.self))
        guard range.contains(position) else { throw reader.error("a position", position, expected: "one of \(range)") }
        return position
    }

    /// Ascending, each once.
    private static func list(_ reader: inout SnapshotReader, _ what: String, _ vocabSize: Int) throws(LLaDAError)
        -> [Int32]
    {
        let count = try reader.count("the length of a list", ofSize: MemoryLayout<Int32>.size)
        let tokens = try reader.tokens(what, count, vocabSize: vocabSize)
        for (before, after) in zip(tokens, tokens.dropFirst()) where before >= after {
            throw reader.error(what, after, expected: "more than \(before), the one before")
        }
        return tokens
    }
}
