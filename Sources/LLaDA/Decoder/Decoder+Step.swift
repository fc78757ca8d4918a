/// The three parts of a step.
extension Decoder {
    /// Runs the model over the active positions, and first over whatever stands before them and has no valid K/V yet.
    public func forward() throws(LLaDAError) {
        try beginForward()
        let ahead = try denoiser.forward(canvasStore.tokens, active: active, asOneBlock: isWindow)
        let before = endForward(ahead: ahead)
        do throws(LLaDAError) {
            try predict(cancellations: [cancellation])
        } catch {
            undoForward(before)
            throw error
        }
        phase = .forwarded
    }

    /// Whether the active positions, of several blocks, see each other.
    var isWindow: Bool { active.count > options.blockLength }

    /// If what follows fails half-way, predictions are gone.
    func beginForward() throws(LLaDAError) {
        try checkUnfinished("forward")
        try cancellation.check()
        if !options.useCache { denoiser.reset() }
        phase = .ready
        forwarded = 0..<0
        holdsLogits = false
    }

    /// The model has run; what is left is `predict`. Returns what `undoForward` wants if that fails.
    func endForward(ahead: Int) -> BlockProgress {
        let before = progress
        if forwards == 0 { prefills += ahead } else { commits += ahead }
        forwards += 1
        forwarded = active
        noteState()
        adjustments = allAdjustments()
        return before
    }

    /// A forward without predictions is none: it can be done again.
    func undoForward(_ before: BlockProgress) {
        progress = before
        forwards -= 1
        forwarded = 0..<0
    }

    /// Lets the policy turn confidences into a proposal, and then the host's rule, if there is one, change it.
    public func propose() throws(LLaDAError) {
        try checkForwarded("propose")
        edited = isEditingBlocks ? blockEdits() : maskToToken() + tokenToToken()
        edited.sort { $0.position < $1.position }
        phase = .proposed
        guard let rule else { return }
        do throws(LLaDAError) {
            try rule(self)
        } catch {
            phase = .forwarded
            edited = []
            throw error
        }
    }

    /// Writes the proposal, emits its events, and moves on when the block is done.
    public func apply() throws(LLaDAError) {
        guard phase == .proposed else {
            throw LLaDAError(.state, "apply needs a proposal: call propose first (phase is \(phase))")
        }
        let hadMasks = !canvasStore.openMasks(in: active).isEmpty
        events = pending
        pending = []
        var changed = 0
        var wroteEnd = false
        for edit in edited where !canvasStore.locked[edit.position] && write(edit, to: &events) {
            changed += 1
            wroteEnd = wroteEnd || eosIDs.contains(edit.token)
        }
        edited = []
        phase = .ready
        progress.step += 1
        progress.isNoted = false
        let hostDecides = blockEnds
        blockEnds = nil
        if let hostDecides {
            progress.isStuck = false
            if hostDecides { endBlock() }
        } else if isEditingBlocks {
            finishRound(changed)
        } else {
            finishStep(hadMasks: hadMasks, changed: changed, wroteEnd: wroteEnd)
        }
    }

    /// The rest of the current step: what of forward, propose and apply has not been done.
    public func step() throws(LLaDAError) {
        if phase == .ready || phase == .finished { try forward() }
        if phase == .forwarded { try propose() }
        try apply()
    }

    func checkUnfinished(_ call: String) throws(LLaDAError) {
        if phase == .finished { throw LLaDAError(.state, "\(call): decoding has finished") }
    }

    func checkForwarded(_ call: String) throws(LLaDAError) {
        try checkUnfinished(call)
        if phase == .ready { throw LLaDAError(.state, "\(call) needs predictions: call forward first") }
    }

    /// Writes one edit; false if it changed nothing.
    func write(_ edit: Edit, to events: inout [Event]) -> Bool {
        let old = canvasStore.token(edit.position)
        guard let kind = canvasStore.write(edit.token, at: edit.position, afterForward: forwards) else { return false }
        if kind == .replace { edits += 1 }
        events.append(
            Event(
                position: edit.position, kind: kind, oldToken: old, newToken: edit.token, confidence: edit.confidence,
                reason: edit.reason))
        return true
    }
}

/// What the policies propose, from the last forward's predictions.
extension Decoder {
    private var policy: Policy { options.policy }

    private func confidence(at position: Int) -> Float { predictedConfidences.pointer[position - forwarded.lowerBound] }
    private func prediction(at position: Int) -> Int32 { predictedTokens.pointer[position - forwarded.lowerBound] }

    private func edit(_ position: Int, _ reason: Reason) -> Edit {
        Edit(position: position, token: prediction(at: position), confidence: confidence(at: position), reason: reason)
    }

    private func maskToToken() -> [Edit] {
        let masks = canvasStore.openMasks(in: active)
        if masks.isEmpty { return [] }
        let atLeast =
            switch policy.kind {
            case .lowConfidence:
                MaskToToken.quota(step: progress.step, steps: stepsPerBlock, blockLength: options.blockLength)
            case .jointThreshold: policy.numToTransfer
            }
        let (positions, isFallback) = MaskToToken.choose(
            masks, confidence: confidence(at:), threshold: policy.threshold, atLeast: atLeast)
        return positions.map { edit($0, isFallback ? .fallback : .threshold) }
    }

    private func tokenToToken() -> [Edit] {
        guard policy.kind == .jointThreshold else { return [] }
        let reason = canvasStore.openMasks(in: active).isEmpty ? Reason.postEdit : .edit
        return changes().map { edit($0, reason) }
    }

    /// Token-to-token alone, over the window. A finished block is not opened again: the mask is no edit here.
    private func blockEdits() -> [Edit] {
        changes().filter { prediction(at: $0) != canvasStore.maskID }.map { edit($0, .blockEdit) }
    }

    private func changes() -> [Int] {
        TokenToToken.choose(
            canvasStore.editable(in: active), current: canvasStore.token, predicted: prediction(at:),
            confidence: confidence(at:), threshold: policy.editingThreshold)
    }

    /// LLaDA2.0: S of the reference. Without a length to generate (infilling) there is only `steps`.
    var stepsPerBlock: Int {
        options.genLength > 0 ? min(policy.steps, options.genLength / policy.minimalTopk) : policy.steps
    }

    /// Predictions of the last forward, bans and penalty applied.
    func predict(cancellations: [Cancellation]) throws(LLaDAError) {
        if policy.temperature > 0 { return try draw() }
        try confidence.predict(
            denoiser, adjust: adjustments, cancellations: cancellations, tokens: predictedTokens.pointer,
            confidences: predictedConfidences.pointer)
    }

    private func draw() throws(LLaDAError) {
        let sampler = Sampler(temperature: policy.temperature, topK: policy.topK, topP: policy.topP)
        let random = Philox(seed: policy.seed)
        let (first, forward) = (forwarded.lowerBound, forwards)
        let logits = try allLogits()
        try confidence.draw(
            sampler, logits: logits, adjust: adjustments,
            uniform: { random.uniform(forward: forward, position: first + $0) },
            tokens: predictedTokens.pointer, confidences: predictedConfidences.pointer)
    }

    /// Bans have changed since. This is no forward: a request to cancel waits for the next one.
    func predictAgain() throws(LLaDAError) {
        let before = adjustments
        adjustments = allAdjustments()
        do throws(LLaDAError) {
            try predict(cancellations: [])
        } catch {
            adjustments = before
            throw error
        }
    }

    private func allAdjustments() -> [Confidence.Adjustment] {
        let everywhere = Array(bans.everywhere)
        return forwarded.map { adjustment(at: $0, banned: everywhere) }
    }

    private func adjustment(at position: Int, banned everywhere: [Int32]) -> Confidence.Adjustment {
        var adjustment = Confidence.Adjustment(banned: everywhere)  // shared by all positions that add nothing
        if let here = bans.at[position] { adjustment.banned += here }
        if progress.isStuck || progress.isGoingRound { adjustment.banned.append(canvasStore.maskID) }
        // SGLang's penalty, within the block (spec: decoding.md, section 3).
        if policy.kind == .jointThreshold, policy.penaltyLambda != 0, position % options.blockLength > 0 {
            adjustment.penalty = (canvasStore.token(position - 1), policy.penaltyLambda)
        }
        return adjustment
    }
}
