/// What a snapshot of a decoder holds, in order; `DecoderRecord` reads it. Sets go sorted: equal decoders have equal bytes.
extension Decoder {
    /// states: [forwarded.count, hidden], of the last forward
    func write(to body: inout ByteWriter, states: UnsafeBufferPointer<Float>) {
        body.put(canvasStore.maskID)
        body.put(list: eosIDs.sorted())
        write(options, to: &body)
        writeCanvas(to: &body)

        body.put(phase.rawValue)
        body.put(finishReason.rawValue)
        body.put(active)
        body.put(settledLength)
        body.put(answerEnd)
        for counter in [forwards, commits, prefills, edits] { body.put(counter) }
        body.put(Int8(blockEnds.map { $0 ? 1 : 0 } ?? -1))
        write(progress, to: &body)
        write(events, to: &body)
        write(pending, to: &body)
        // One that was not applied stays behind until the next; it means nothing.
        writeProposal(phase == .proposed ? edited : [], to: &body)
        body.put(list: bans.everywhere.sorted())
        let bansHere = bans.at.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
        body.put(bansHere.count)
        for (position, tokens) in bansHere {
            body.put(position)
            body.put(list: tokens.sorted())
        }
        body.put(forwarded)
        if !forwarded.isEmpty { writeLastForward(states, to: &body) }
    }

    private func write(_ options: Options, to body: inout ByteWriter) {
        body.put(options.blockLength)
        body.put(options.genLength)
        for flag in [options.eosEarlyStop, options.infill, options.useCache] { body.put(flag) }
        let policy = options.policy
        body.put(policy.kind == .jointThreshold)
        for number in [
            policy.threshold, policy.editingThreshold, policy.penaltyLambda, policy.temperature, policy.topP,
        ] { body.put(number) }
        for count in [
            policy.steps, policy.minimalTopk, policy.maxPostSteps, policy.numToTransfer, policy.mbeWindow,
            policy.mbeRounds,
            policy.topK,
        ] { body.put(count) }
        body.put(policy.seed)
    }

    private func writeCanvas(to body: inout ByteWriter) {
        body.put(canvasStore.promptLength)
        body.put(canvas)
        for state in states { body.put(state) }
        body.put(stepMap)
        for isLocked in canvasStore.locked { body.put(isLocked) }
    }

    private func write(_ progress: BlockProgress, to body: inout ByteWriter) {
        for count in [progress.step, progress.postSteps, progress.editingRounds ?? -1] { body.put(count) }
        body.put(progress.isStuck)
        body.put(progress.isGoingRound)
        body.put(progress.isNoted)
        body.put(progress.seen.count)
        for block in progress.seen.sorted(by: { $0.lexicographicallyPrecedes($1) }) { body.put(block) }
    }

    private func write(_ events: [Event], to body: inout ByteWriter) {
        body.put(events.count)
        for event in events {
            body.put(event.position)
            body.put(event.kind.rawValue)
            body.put(event.oldToken)
            body.put(event.newToken)
            body.put(event.confidence)
            body.put(event.reason.rawValue)
        }
    }

    private func writeProposal(_ proposal: [Edit], to body: inout ByteWriter) {
        body.put(proposal.count)
        for edit in proposal {
            body.put(edit.position)
            body.put(edit.token)
            body.put(edit.confidence)
            body.put(edit.reason.rawValue)
        }
    }

    private func writeLastForward(_ states: UnsafeBufferPointer<Float>, to body: inout ByteWriter) {
        body.put(UnsafeBufferPointer(start: predictedTokens.pointer, count: forwarded.count))
        for index in 0..<forwarded.count { body.put(predictedConfidences.pointer[index]) }
        var before: [Int32]?
        for adjustment in adjustments {
            // Bans of all positions are one list.
            body.put(adjustment.banned == before)
            if adjustment.banned != before { body.put(list: adjustment.banned) }
            before = adjustment.banned
            body.put(adjustment.penalty != nil)
            if let penalty = adjustment.penalty {
                body.put(penalty.token)
                body.put(penalty.amount)
            }
        }
        body.put(UnsafeRawBufferPointer(states))
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ range: Range<Int>) {
        put(range.lowerBound)
        put(range.upperBound)
    }

    fileprivate mutating func put(list tokens: [Int32]) {
        put(tokens.count)
        put(tokens)
    }
}
