/// The contents of a decoder's snapshot, in order. Whatever a decoder counts with or looks up is checked when it is
/// read.
extension DecoderState {
    /// The largest counter: far from where it would overflow.
    private static let mostCounted = 1 << 48

    /// Writes or reads the state. Before reading, `self` has a canvas without positions and the model's ids of mask and
    /// end of sequence.
    mutating func code(_ coder: inout some StateCoder, _ config: ModelConfig) throws(LLaDAError) {
        let (vocabSize, most) = (config.vocabSize, Self.mostCounted)
        try codeIDs(&coder, vocabSize)
        try options.code(&coder, hasEditTokens: editTokens != nil)
        try codeCanvas(&coder, config)
        let count = canvas.count

        try coder.value("the phase", &phase)
        try coder.value("the finish reason", &finishReason)
        try coder.expect(
            (phase == .finished) == (finishReason != .none), "the finish reason", "\(finishReason)",
            "one that fits the phase, \(phase)")
        try coder.range("the active positions", &active, within: count)
        let isWhole = active.lowerBound % options.blockLength == 0 && active.upperBound % options.blockLength == 0
        try coder.expect(
            isWhole && active.isEmpty == (count == 0) && (count > 0 || phase == .finished), "the active positions",
            "\(active)", "whole blocks")
        try coder.integer("the settled length", &settledLength, in: 0...active.upperBound)
        try coder.integer("the answer's end", &answerEnd, in: canvas.promptLength...count)
        try coder.integer("forwards", &counters.forwards, in: 0...most)
        try coder.integer("commits", &counters.commits, in: 0...most)
        try coder.integer("prefills", &counters.prefills, in: 0...most)
        try coder.integer("edits", &counters.edits, in: 0...most)
        try coder.integer("insertions", &counters.insertions, in: 0...most)
        try coder.integer("deletions", &counters.deletions, in: 0...most)
        try codeBlockEnds(&coder)
        try codeProgress(&coder, vocabSize)
        try Self.code(&events, &coder, count, vocabSize)
        try Self.code(&hostEvents, &coder, count, vocabSize)
        try codeProposal(&coder, vocabSize)
        try codeBans(&coder, vocabSize)
        try codeBiases(&coder, vocabSize)
        try predictions.code(&coder, within: count, vocabSize)
        // Where there are predictions, nothing looks at those before them.
        if !coder.isReading, !predictions.positions.isEmpty { kept.clear() }
        try kept.code(&coder, within: count, vocabSize)
        try coder.expect(
            kept.positions.isEmpty || predictions.positions.isEmpty, "the forward before the last",
            "\(kept.positions)", "none, as the last one has predictions")
        try coder.expect(
            predictions.positions == active || (phase != .forwarded && phase != .proposed), "the last forward",
            "\(predictions.positions)", "\(active), the active positions")
    }

    /// Writes the ids of mask and end of sequence, or checks them: they decide as much as the weights do.
    private func codeIDs(_ coder: inout some StateCoder, _ vocabSize: Int) throws(LLaDAError) {
        var maskID = canvas.maskID
        try coder.token("the mask id", &maskID, vocabSize: vocabSize)
        try coder.expect(maskID == canvas.maskID, "the mask id", "\(maskID)", "\(canvas.maskID), the model's")
        var ends = eosIDs
        try coder.tokenSet("an id of end-of-sequence", &ends, vocabSize: vocabSize)
        try coder.expect(
            ends == eosIDs, "the list of end-of-sequence ids", "\(ends.sorted())", "\(eosIDs.sorted()), the model's")
        let own = [editTokens?.delete ?? -1, editTokens?.split ?? -1]
        for (name, id) in zip(["delete_token_id", "split_token_id"], own) {
            var found = id
            try coder.number(name, &found)
            try coder.expect(found == id, name, "\(found)", "\(id), the model's")
        }
    }

    private mutating func codeCanvas(_ coder: inout some StateCoder, _ config: ModelConfig) throws(LLaDAError) {
        let blockLength = options.blockLength
        var promptLength = canvas.promptLength
        try coder.integer("prompt_length", &promptLength, in: 0...Int(Int32.max))
        let positions = promptLength + options.genLength
        try coder.check { () throws(LLaDAError) in try config.check(blockLength: blockLength, canvas: positions) }
        let count = (positions + blockLength - 1) / blockLength * blockLength
        var tokens = Array(canvas.tokens)
        try coder.tokens("a token of the canvas", &tokens, count, vocabSize: config.vocabSize)
        var states = canvas.states.map { Decoder.PositionState(rawValue: $0) ?? .prompt }
        for position in 0..<count {
            if coder.isReading { states.append(.prompt) }
            try coder.value("a position's state", &states[position])
            let state = states[position]
            let isOfPrompt = position < promptLength && (state == .prompt || options.infill)
            try coder.expect(
                (state == .masked) == (tokens[position] == canvas.maskID)
                    && (isOfPrompt || (position >= promptLength && state != .prompt)),
                "a position's state", "\(state) at position \(position)", "one that fits its token and place")
        }
        var written = Array(canvas.written)
        try coder.tokens("an entry of the step map", &written, count, vocabSize: Int(Int32.max))
        var locked = Array(canvas.locked)
        for position in 0..<count {
            if coder.isReading { locked.append(false) }
            try coder.flag("a lock", &locked[position])
        }
        var original = Array(canvas.original)
        for position in 0..<count {
            if coder.isReading { original.append(false) }
            try coder.flag("the origin of a mask", &original[position])
        }
        if coder.isReading {
            canvas = try Canvas(
                tokens: tokens, states: states, written: written, locked: locked, original: original,
                promptLength: promptLength, blockLength: blockLength, maskID: canvas.maskID)
        }
    }

    private mutating func codeBlockEnds(_ coder: inout some StateCoder) throws(LLaDAError) {
        var ends: Int8 = blockEnds.map { $0 ? 1 : 0 } ?? -1
        try coder.number("whether the block ends", &ends)
        try coder.expect(-1...1 ~= ends, "whether the block ends", "\(ends)", "-1 to 1")
        blockEnds = ends < 0 ? nil : ends == 1
    }

    private mutating func codeProgress(_ coder: inout some StateCoder, _ vocabSize: Int) throws(LLaDAError) {
        let (blockLength, most) = (options.blockLength, Self.mostCounted)
        progress.block = max(active.upperBound / blockLength - 1, 0)
        try coder.integer("the block's steps", &progress.step, in: 0...most)
        try coder.integer("the block's steps without a mask", &progress.postSteps, in: 0...most)
        var rounds = progress.editingRounds ?? -1
        try coder.integer("rounds of block editing", &rounds, in: -1...most)
        progress.editingRounds = rounds < 0 ? nil : rounds
        try coder.expect(
            rounds >= 0 || active.count <= blockLength, "the active positions", "\(active)",
            "one block of \(blockLength), as no blocks are edited")
        try coder.flag("whether the block is stuck", &progress.isStuck)
        try coder.flag("whether the block goes round", &progress.isGoingRound)
        try coder.flag("whether the step's block was noted", &progress.isNoted)
        try coder.integer("the masks of the block's beginning", &progress.originalMasks, in: 0...blockLength)
        try coder.flag("whether the block's last edits are done", &progress.isFinal)
        try coder.flag("whether the block is closing", &progress.isClosing)
        try coder.list("the number of rows that changed", &progress.changed, ofSize: 4, empty: 0) {
            (coder, step) throws(LLaDAError) in
            try coder.number("the step of a change", &step)
        }
        try coder.expect(
            progress.changed.isEmpty || progress.changed.count == blockLength, "the number of rows that changed",
            "\(progress.changed.count)", "0 or \(blockLength)")
        try Self.code(&progress.seen, &coder, "a token seen", blockLength, vocabSize)
        try Self.code(&progress.written, &coder, "a token written", blockLength, vocabSize)
    }

    /// Codes states of a block. Their order means nothing, and -1 stands for no token.
    private static func code(
        _ blocks: inout SeenBlocks, _ coder: inout some StateCoder, _ what: String, _ blockLength: Int, _ vocabSize: Int
    ) throws(LLaDAError) {
        var all = blocks.all(blockLength: blockLength).sorted { $0.lexicographicallyPrecedes($1) }
        let size = blockLength * MemoryLayout<Int32>.size
        try coder.list("the number of states seen", &all, ofSize: size, empty: []) {
            (coder, block) throws(LLaDAError) in
            for index in 0..<blockLength {
                if coder.isReading { block.append(-1) }
                var shifted = block[index] + 1
                try coder.token(what, &shifted, vocabSize: vocabSize + 1)
                block[index] = shifted - 1
            }
        }
        if coder.isReading { blocks = SeenBlocks(Set(all).flatMap { $0 }) }
    }

    private static func code(
        _ events: inout [Decoder.Event], _ coder: inout some StateCoder, _ count: Int, _ vocabSize: Int
    ) throws(LLaDAError) {
        let none = Decoder.Event(
            position: 0, kind: .unmask, oldToken: 0, newToken: 0, confidence: 0, reason: .host, last: 0)
        try coder.list("the number of events", &events, ofSize: 36, empty: none) {
            (coder, event) throws(LLaDAError) in
            try coder.position(&event.position, within: 0..<count)
            try coder.value("an event's kind", &event.kind)
            try coder.token("an event's token", &event.oldToken, vocabSize: vocabSize)
            try coder.token("an event's token", &event.newToken, vocabSize: vocabSize)
            try coder.float("an event's confidence", &event.confidence)
            try coder.value("an event's reason", &event.reason)
            try coder.position(&event.last, within: event.position..<count)
        }
    }

    private mutating func codeProposal(_ coder: inout some StateCoder, _ vocabSize: Int) throws(LLaDAError) {
        let (positions, canvas) = (active, canvas)
        var (next, order) = (positions.lowerBound, Int32(0))
        try coder.list("the number of edits", &proposal, ofSize: 24, empty: Decoder.Edit(position: 0, token: 0)) {
            (coder, edit) throws(LLaDAError) in
            try coder.position(&edit.position, within: next..<positions.upperBound)
            try coder.expect(
                canvas.state(edit.position) != .prompt, "an edit's position", "\(edit.position)", "none of the prompt")
            try coder.value("an edit's kind", &edit.kind)
            next = edit.position + (edit.kind == .insert ? 0 : 1)  // what is put in comes first
            (edit.order, order) = (order, order + 1)
            try coder.token("an edit's token", &edit.token, vocabSize: vocabSize)
            try coder.float("an edit's confidence", &edit.confidence)
            try coder.value("an edit's reason", &edit.reason)
        }
        try coder.expect(
            proposal.count <= 2 * positions.count, "the proposal", "of \(proposal.count) edits",
            "two for each active position at most")
        try coder.expect(
            phase == .proposed || proposal.isEmpty, "the proposal", "of \(proposal.count) edits", "none in this phase")
    }

    private mutating func codeBans(_ coder: inout some StateCoder, _ vocabSize: Int) throws(LLaDAError) {
        try coder.tokenSet("a banned token", &bans.everywhere, vocabSize: vocabSize)
        var places = bans.at.filter { !$0.value.isEmpty }.map { (position: $0.key, tokens: $0.value) }
        places.sort { $0.position < $1.position }
        let always = bans.everywhere.union([canvas.maskID])
        var most = always.count
        var next = 0
        let count = canvas.count
        try coder.list("the number of positions with bans", &places, ofSize: 16, empty: (position: 0, tokens: [])) {
            (coder, place) throws(LLaDAError) in
            try coder.position(&place.position, within: next..<count)
            next = place.position + 1
            try coder.tokenSet("a banned token", &place.tokens, vocabSize: vocabSize)
            most = max(most, always.union(place.tokens).count)
        }
        if coder.isReading { bans.at = Dictionary(uniqueKeysWithValues: places.map { ($0.position, $0.tokens) }) }
        try coder.expect(
            most < vocabSize, "the number of banned tokens", "\(most)", "one that leaves something")
    }

    private mutating func codeBiases(_ coder: inout some StateCoder, _ vocabSize: Int) throws(LLaDAError) {
        var everywhere = Biases.sorted(biases.everywhere)
        try coder.biases("a bias", &everywhere, vocabSize: vocabSize)
        var places = biases.at.map { (position: $0.key, biases: Biases.sorted($0.value)) }
        places.sort { $0.position < $1.position }
        var next = 0
        let count = canvas.count
        try coder.list("the number of positions with biases", &places, ofSize: 16, empty: (position: 0, biases: [])) {
            (coder, place) throws(LLaDAError) in
            try coder.position(&place.position, within: next..<count)
            next = place.position + 1
            try coder.biases("a bias", &place.biases, vocabSize: vocabSize)
        }
        if !coder.isReading { return }
        func table(_ list: [LogitBias]) -> [Int32: Float] {
            Dictionary(uniqueKeysWithValues: list.map { ($0.token, $0.amount) })
        }
        biases = Biases(
            everywhere: table(everywhere),
            at: Dictionary(uniqueKeysWithValues: places.map { ($0.position, table($0.biases)) }))
    }
}

extension StateCoder {
    /// Codes biases, by increasing tokens.
    fileprivate mutating func biases(
        _ what: String, _ biases: inout [LogitBias], vocabSize: Int
    ) throws(LLaDAError) {
        var next: Int32 = 0
        try list("the number of biases", &biases, ofSize: 8, empty: LogitBias(token: 0, amount: 0)) {
            (coder, bias) throws(LLaDAError) in
            var (token, amount) = (bias.token, bias.amount)
            try coder.token(what, &token, vocabSize: vocabSize)
            try coder.expect(token >= next, what, "of token \(token)", "tokens that increase")
            next = token + 1
            try coder.float(what, &amount)
            let most = 2 * Biases.largest  // at all positions and at one
            try coder.expect(-most...most ~= amount, what, "\(amount)", "\(-most) to \(most)")
            bias = LogitBias(token: token, amount: amount)
        }
    }
}

extension Decoder.Options {
    fileprivate mutating func code(_ coder: inout some StateCoder, hasEditTokens: Bool) throws(LLaDAError) {
        let most = Int(Int32.max)
        try coder.integer("block_length", &blockLength, in: 1...most)
        try coder.integer("gen_length", &genLength, in: 0...most)
        try coder.flag("eos_early_stop", &eosEarlyStop)
        try coder.flag("infill", &infill)
        try coder.flag("use_cache", &useCache)
        try coder.expect(genLength > 0 || infill, "gen_length", "0", "at least 1 (0 if infilling)")
        var policy = policy ?? .quality
        try coder.value("the kind of policy", &policy.kind)
        for number in Policy.numbers {
            switch number {
            case .real(let name, let path, _, _): try coder.float(name, &policy[keyPath: path])
            case .count(let name, let path, _): try coder.integer(name, &policy[keyPath: path], in: 0...most)
            case .seed(let name, let path): try coder.number(name, &policy[keyPath: path])
            }
        }
        let (checked, genLength) = (policy, genLength)
        try coder.check { () throws(LLaDAError) in
            try checked.validate(genLength: genLength, hasEditTokens: hasEditTokens)
        }
        self.policy = policy
    }
}

extension Predictions {
    fileprivate mutating func code(
        _ coder: inout some StateCoder, within count: Int, _ vocabSize: Int
    ) throws(LLaDAError) {
        var positions = positions
        try coder.range("the last forward", &positions, within: count)
        var tokens = Array(tokens)
        try coder.tokens("a prediction", &tokens, positions.count, vocabSize: vocabSize)
        var confidences = Array(confidences)
        for index in 0..<positions.count {
            if coder.isReading { confidences.append(0) }
            try coder.float("a confidence", &confidences[index])
        }
        var judged = Array(judged)
        for index in 0..<positions.count {
            if coder.isReading { judged.append(false) }
            try coder.flag("whether a row was judged", &judged[index])
        }
        var computed = Array(computed)
        for index in 0..<positions.count {
            if coder.isReading { computed.append(true) }
            try coder.flag("whether a row was computed", &computed[index])
        }
        var adjustments = adjustments
        for index in 0..<positions.count {
            // The bans of all positions are usually one list.
            let before = index > 0 ? adjustments[index - 1] : nil
            if coder.isReading { adjustments.append(before ?? LogitAdjustment()) }
            try adjustments[index].code(&coder, before, vocabSize)
        }
        if coder.isReading, !positions.isEmpty {
            try begin(positions, room: positions.count)
            self.adjustments = adjustments
            for index in 0..<positions.count {
                self[index] = Entry(
                    token: tokens[index], confidence: confidences[index], isJudged: judged[index],
                    isComputed: computed[index])
            }
        }
    }
}

extension LogitAdjustment {
    /// Writes or reads an adjustment. `before` is that of the position before; when reading, `self` begins as a copy of
    /// it.
    fileprivate mutating func code(
        _ coder: inout some StateCoder, _ before: LogitAdjustment?, _ vocabSize: Int
    ) throws(LLaDAError) {
        var (all, added) = (allBanned, biases)
        var repeats = all == before?.allBanned && added == before?.biases
        try coder.flag("whether bans and biases repeat", &repeats)
        try coder.expect(before != nil || !repeats, "whether bans and biases repeat", "1", "0 at the first")
        if !repeats {
            if coder.isReading { (all, added) = ([], []) }
            let size = MemoryLayout<Int32>.size
            try coder.list("the number of tokens taken out", &all, ofSize: size, empty: 0) {
                (coder, token) throws(LLaDAError) in
                try coder.token("a token taken out", &token, vocabSize: vocabSize)
            }
            try coder.biases("a bias", &added, vocabSize: vocabSize)
            if coder.isReading { self = LogitAdjustment(position: position, banned: all, biases: added) }
        }
        var isPenalised = penalty != nil
        try coder.flag("whether there is a penalty", &isPenalised)
        var (token, amount) = penalty ?? (0, 0)
        if isPenalised {
            try coder.token("a penalised token", &token, vocabSize: vocabSize)
            try coder.float("a penalty", &amount)
        }
        penalty = isPenalised ? (token, amount) : nil
    }
}
