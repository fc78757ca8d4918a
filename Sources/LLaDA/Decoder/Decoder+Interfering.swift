/// What a host may change, between any two calls.
extension Decoder {
    /// Replaces the proposal by the host's edits. Each position must be active, neither of the prompt nor locked, and
    /// written or deleted once at most; insertions at one position come in their order. In multi-block editing edits
    /// neither mask nor move. Throws `.invalidArgument` otherwise, or for more than twice as many edits as there are
    /// active positions, and `.state` without predictions.
    public func setProposal(_ edits: [Edit]) throws(LLaDAError) {
        try setProposal(edits.count) { edits[$0] }
    }

    /// The same for the edits that a function returns.
    package func setProposal(_ count: Int, _ edit: (Int) -> Edit) throws(LLaDAError) {
        try checkForwarded("set_proposal")
        func refuse(_ position: Int, _ why: String) -> LLaDAError {
            LLaDAError(.invalidArgument, "set_proposal: position \(position) \(why)")
        }
        for index in 0..<count {
            let (position, token, kind) = (edit(index).position, edit(index).token, edit(index).kind)
            if kind != .delete { try check(token: token) }
            guard active.contains(position) else {
                throw refuse(position, "is not active; expected \(active.lowerBound) to \(active.upperBound - 1)")
            }
            guard state.canvas.state(position) != .prompt else { throw refuse(position, "belongs to the prompt") }
            guard !state.canvas.locked[position] else { throw refuse(position, "is locked") }
            guard kind == .write || !isEditingBlocks else {
                throw refuse(position, "cannot move: finished blocks are being edited")
            }
            guard token != state.canvas.maskID || !isEditingBlocks else {
                throw refuse(position, "cannot be masked: finished blocks are being edited")
            }
        }
        guard count <= 2 * active.count else {
            throw LLaDAError(
                .invalidArgument,
                "set_proposal: there are \(count) edits; expected at most \(2 * active.count), two for each position")
        }
        var proposal: [Edit] = []
        swap(&proposal, &spareProposal)
        defer { swap(&proposal, &spareProposal) }
        proposal.removeAll(keepingCapacity: true)
        try proposal.reserve(2 * mostActive)
        for index in 0..<count {
            var edit = edit(index)
            edit.reason = .host
            edit.order = Int32(clamping: index)
            if edit.kind == .delete { edit.token = state.canvas.token(edit.position) }
            proposal.append(edit)
        }
        proposal.withUnsafeMutableBufferPointer { $0.sortInPlace(by: Edit.isBefore) }
        for (before, edit) in zip(proposal, proposal.dropFirst())
        where edit.position == before.position && before.kind != .insert {
            throw refuse(edit.position, "is there twice")
        }
        swap(&proposal, &state.proposal)
        state.phase = .proposed
    }

    /// Writes a token at any position. In a finished block or the prompt, the next forward computes the K/V of the
    /// block and of all blocks behind it again; their tokens stay. In a later block, the token is a draft that waits.
    /// Throws `.state` after the end, `.invalidArgument` for a position or token out of range, and `.specialToken` for
    /// the mask id.
    public func setToken(at position: Int, to token: Int32) throws(LLaDAError) {
        try checkUnfinished("set_token")
        try check(position: position)
        try check(token: token)
        if token == state.canvas.maskID {
            throw LLaDAError(.specialToken, "set_token: \(token) is the mask id; use mask to mask a position")
        }
        try write(Edit(position: position, token: token))
    }

    /// Masks a position of the active block or a later one that is not of the prompt; in multi-block editing, only of a
    /// later one. Throws `.state` after the end, and `.invalidArgument` for any other position.
    public func mask(at position: Int) throws(LLaDAError) {
        try checkUnfinished("mask")
        try check(position: position)
        let isOpen = position >= state.canvas.block(state.progress.block).lowerBound && !isEditingBlocks
        guard isOpen || position >= active.upperBound, state.canvas.state(position) != .prompt else {
            throw LLaDAError(
                .invalidArgument,
                """
                mask: position \(position) is \(state.canvas.state(position)) or in a finished block; only what is not \
                finished can be masked
                """)
        }
        try write(Edit(position: position, token: state.canvas.maskID))
    }

    /// Locks or unlocks a position. Policy and proposal leave a locked position as it is, and a locked mask stays a
    /// mask. Throws `.invalidArgument` for a position out of range.
    public func lock(at position: Int, _ isLocked: Bool) throws(LLaDAError) {
        try check(position: position)
        state.canvas.lock(position, isLocked)
    }

    /// Whether the active block ends with the next `apply`; nil lets the policy decide. The value counts for one
    /// `apply`.
    public var blockEnds: Bool? {
        get { state.blockEnds }
        set { state.blockEnds = newValue }
    }

    /// Bans a token at `position`, or at all positions with nil, or lifts the ban. A banned token is never predicted.
    /// The present predictions are made again. Throws `.invalidArgument` for a position or token out of range, or if no
    /// token but the mask would be left.
    public func ban(_ token: Int32, at position: Int?, _ isBanned: Bool) throws(LLaDAError) {
        try check(token: token)
        if let position { try check(position: position) }
        if isBanned, !leavesSomething(token, at: position) {
            throw LLaDAError(
                .invalidArgument, "ban: without token \(token) there would be nothing left to predict but the mask")
        }
        try judgeAnew { state in state.ban(token, at: position, isBanned) }
    }

    /// Sets what is added to the logit of a token at `position`, or at all positions with nil, before predictions are
    /// made; what is set for all positions and for one adds up. 0 adds nothing, and -infinity is `ban`, which any other
    /// bias lifts. The present predictions are made again. Throws `.invalidArgument` for a position, token or bias out
    /// of range, and as `ban`.
    public func setLogitBias(of token: Int32, at position: Int?, to bias: Float) throws(LLaDAError) {
        try check(token: token)
        if let position { try check(position: position) }
        if bias == -.infinity { return try ban(token, at: position, true) }
        let largest = Biases.largest
        guard -largest...largest ~= bias else {
            throw LLaDAError(
                .invalidArgument,
                "logit_bias of token \(token) is \(bias); expected \(-largest) to \(largest), or -infinity, a ban")
        }
        try judgeAnew { state in
            state.biases.set(token, at: position, to: bias)
            state.ban(token, at: position, false)
        }
    }

    /// Changes bans and biases, and makes the present predictions again. After an error, both are as before.
    private func judgeAnew(_ change: (inout DecoderState) -> Void) throws(LLaDAError) {
        // Sets and lists of all bans and biases, which change places when they grow.
        let room = try Reserve.Room(256 * (state.bans.count + state.biases.count + 1))
        defer { room.close() }
        let (bans, biases) = (state.bans, state.biases)
        change(&state)
        guard phase == .forwarded || phase == .proposed else { return }
        do throws(LLaDAError) {
            try predictAgain()
        } catch {
            (state.bans, state.biases) = (bans, biases)
            throw error
        }
    }

    /// Whether each position keeps a token other than the mask if `token` goes too.
    private func leavesSomething(_ token: Int32, at position: Int?) -> Bool {
        let mostBanned = state.bans.everywhere.count + (state.bans.at.values.map(\.count).max() ?? 0) + 2
        if mostBanned < vocabSize { return true }
        let always: Set = [token, state.canvas.maskID]
        let places = position.map { [$0] } ?? Array(state.bans.at.keys)
        let most = places.map { state.bans.everywhere.union(always).union(state.bans.at[$0] ?? []).count }.max()
        return (most ?? state.bans.everywhere.union(always).count) < vocabSize
    }

    private var vocabSize: Int { sequence.denoiser.config.vocabSize }

    /// Writes the host's edit, and notes it as an event of the current step.
    private func write(_ edit: Edit) throws(LLaDAError) {
        try state.hostEvents.makeRoom()
        if let event = state.write(edit) { state.hostEvents.append(event) }
    }

    private func check(position: Int) throws(LLaDAError) {
        guard 0..<state.canvas.count ~= position else {
            throw LLaDAError(.invalidArgument, "position is \(position); expected 0 to \(state.canvas.count - 1)")
        }
    }

    private func check(token: Int32) throws(LLaDAError) {
        guard 0..<vocabSize ~= Int(token) else {
            throw LLaDAError(.invalidArgument, "token is \(token); expected 0 to \(vocabSize - 1)")
        }
    }
}

extension DecoderState {
    fileprivate mutating func ban(_ token: Int32, at position: Int?, _ isBanned: Bool) {
        switch (position, isBanned) {
        case (let position?, true): bans.at[position, default: []].insert(token)
        case (let position?, false): bans.at[position]?.remove(token)
        case (nil, true): bans.everywhere.insert(token)
        case (nil, false): bans.everywhere.remove(token)
        }
    }
}
