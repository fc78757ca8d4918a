/// What `apply` does to the canvas.
extension DecoderState {
    /// Writes and clears the proposal. Its changes, after those that the host had made, are the events of the step:
    /// first what is written, then what goes, from the last position on, then what comes in.
    mutating func writeProposal() -> AppliedStep {
        let hadMasks = hasOpenMasks
        let edits = proposal.count
        let hasMoves = proposal.contains { $0.kind != .write }
        if hasMoves {
            before.removeAll(keepingCapacity: true)
            before.append(contentsOf: canvas.tokens[active])
        }
        swap(&events, &hostEvents)
        hostEvents.removeAll(keepingCapacity: true)
        var changed = 0
        var wroteEnd = false
        for index in proposal.indices where proposal[index].kind == .write && !canvas.locked[proposal[index].position] {
            let edit = proposal[index]
            guard let event = write(edit) else { continue }
            events.append(event)
            changed += 1
            wroteEnd = wroteEnd || eosIDs.contains(edit.token)
        }
        if hasMoves {
            takeOut()
            if putIn() { wroteEnd = true }
            changed = zip(before, active).count { $0 != canvas.token($1) }
        }
        proposal.removeAll(keepingCapacity: true)
        phase = .ready
        progress.step += 1
        progress.isNoted = false
        return AppliedStep(hadMasks: hadMasks, edits: edits, changed: changed, wroteEnd: wroteEnd)
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
            reason: edit.reason, last: edit.position)
    }

    /// Does the deletions of the proposal, from the last one on, so that each finds its token.
    private mutating func takeOut() {
        for edit in proposal.reversed() where edit.kind == .delete && !canvas.locked[edit.position] {
            let end = canvas.endOfMove(from: edit.position)
            events.append(
                Decoder.Event(
                    position: edit.position, kind: .delete, oldToken: canvas.token(edit.position),
                    newToken: canvas.maskID, confidence: edit.confidence, reason: edit.reason, last: end - 1))
            canvas.remove(at: edit.position, upTo: end)
            counters.deletions += 1
        }
    }

    /// Does the insertions of the proposal, after its deletions: so as little as possible is lost at the end. Returns
    /// whether a token that ends a sequence came in.
    private mutating func putIn() -> Bool {
        var end = 0  // of the positions that move together
        var shift = 0  // of what stood there before the step
        var wroteEnd = false
        for edit in proposal where edit.kind != .write && !canvas.locked[edit.position] {
            if edit.position >= end { (end, shift) = (canvas.endOfMove(from: edit.position), 0) }
            if edit.kind == .delete {
                shift -= 1
                continue
            }
            let position = edit.position + shift
            if position >= end { continue }  // what stood there is lost, and this with it
            events.append(
                Decoder.Event(
                    position: position, kind: .insert, oldToken: canvas.token(end - 1), newToken: edit.token,
                    confidence: edit.confidence, reason: edit.reason, last: end - 1))
            canvas.insert(edit.token, at: position, upTo: end, afterForward: counters.forwards)
            counters.insertions += 1
            shift += 1
            wroteEnd = wroteEnd || eosIDs.contains(edit.token)
        }
        return wroteEnd
    }
}
