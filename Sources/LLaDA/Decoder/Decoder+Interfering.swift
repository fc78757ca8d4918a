/// What a host may change, between any two calls.
extension Decoder {
    /// Puts the host's edits in place of the proposal. Positions must be active, not of the prompt, not locked, each at
    /// most once.
    public func setProposal(_ edits: [Edit]) throws(LLaDAError) {
        try checkForwarded("set_proposal")
        var seen = Set<Int>()
        for edit in edits {
            try check(token: edit.token)
            let position = edit.position
            func refuse(_ why: String) -> LLaDAError {
                LLaDAError(.invalidArgument, "set_proposal: position \(position) \(why)")
            }
            guard active.contains(position) else {
                throw refuse("is not active; expected \(active.lowerBound) to \(active.upperBound - 1)")
            }
            guard canvasStore.state(position) != .prompt else { throw refuse("belongs to the prompt") }
            guard !canvasStore.locked[position] else { throw refuse("is locked") }
            guard edit.token != canvasStore.maskID || !isEditingBlocks else {
                throw refuse("cannot be masked: finished blocks are being edited")
            }
            guard seen.insert(position).inserted else { throw refuse("is there twice") }
        }
        edited = edits.map { Edit(position: $0.position, token: $0.token, confidence: $0.confidence, reason: .host) }
        edited.sort { $0.position < $1.position }
        phase = .proposed
    }

    /// Writes a token anywhere. In a finished block or the prompt its K/V and that of all blocks behind it is computed
    /// anew at the next forward; their tokens stay. In a block to come it is a draft that waits.
    public func setToken(at position: Int, to token: Int32) throws(LLaDAError) {
        try checkUnfinished("set_token")
        try check(position: position)
        try check(token: token)
        if token == canvasStore.maskID {
            throw LLaDAError(.specialToken, "set_token: \(token) is the mask id; use mask to mask a position")
        }
        _ = write(Edit(position: position, token: token), to: &pending)
    }

    /// Masks a position of the active block or of one to come; not of the prompt.
    public func mask(at position: Int) throws(LLaDAError) {
        try checkUnfinished("mask")
        try check(position: position)
        let isOpen = position >= canvasStore.block(progress.block).lowerBound && !isEditingBlocks
        guard isOpen || position >= active.upperBound, canvasStore.state(position) != .prompt else {
            throw LLaDAError(
                .invalidArgument,
                """
                mask: position \(position) is \(canvasStore.state(position)) or in a finished block; only what is not finished \
                can be masked
                """)
        }
        _ = write(Edit(position: position, token: canvasStore.maskID), to: &pending)
    }

    /// A locked position is left as it is by the policy, and by a proposal at hand; a mask that is locked stays one.
    public func lock(at position: Int, _ isLocked: Bool) throws(LLaDAError) {
        try check(position: position)
        canvasStore.lock(position, isLocked)
    }

    /// A banned token is never predicted at `position`, or, with nil, at any. Predictions at hand are made anew.
    public func ban(_ token: Int32, at position: Int?, _ isBanned: Bool) throws(LLaDAError) {
        try check(token: token)
        if let position { try check(position: position) }
        if isBanned, !leavesSomething(token, at: position) {
            throw LLaDAError(
                .invalidArgument, "ban: without token \(token) there would be nothing left to predict but the mask")
        }
        let before = bans
        if let position {
            if isBanned { bans.at[position, default: []].insert(token) } else { bans.at[position]?.remove(token) }
        } else {
            if isBanned { bans.everywhere.insert(token) } else { bans.everywhere.remove(token) }
        }
        guard phase == .forwarded || phase == .proposed else { return }
        do throws(LLaDAError) {
            try predictAgain()
        } catch {
            bans = before
            throw error
        }
    }

    /// Whether each position keeps a token other than the mask if `token` goes too.
    private func leavesSomething(_ token: Int32, at position: Int?) -> Bool {
        let mostBanned = bans.everywhere.count + (bans.at.values.map(\.count).max() ?? 0) + 2
        if mostBanned < denoiser.vocabSize { return true }
        let always: Set = [token, canvasStore.maskID]
        let places = position.map { [$0] } ?? Array(bans.at.keys)
        let most = places.map { bans.everywhere.union(always).union(bans.at[$0] ?? []).count }.max()
        return (most ?? bans.everywhere.union(always).count) < denoiser.vocabSize
    }

    private func check(position: Int) throws(LLaDAError) {
        guard 0..<canvasStore.count ~= position else {
            throw LLaDAError(.invalidArgument, "position is \(position); expected 0 to \(canvasStore.count - 1)")
        }
    }

    private func check(token: Int32) throws(LLaDAError) {
        guard 0..<denoiser.vocabSize ~= Int(token) else {
            throw LLaDAError(.invalidArgument, "token is \(token); expected 0 to \(denoiser.vocabSize - 1)")
        }
    }
}
