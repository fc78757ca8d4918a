import CLLaDA
import LLaDA

@_cdecl("llada_decoder_get_state") @implementation
public func llada_decoder_get_state(
    _ decoder: OpaquePointer?, _ state: UnsafeMutablePointer<llada_decoder_state>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let state else { throw .null("state") }
        var result = llada_decoder_state()
        result.phase = decoder.phase.rawValue
        result.finish_reason = decoder.finishReason.rawValue
        result.block_length = Int32(clamping: decoder.blockLength)
        result.prompt_length = Int32(clamping: decoder.promptLength)
        result.gen_length = Int32(clamping: decoder.options.genLength)
        result.canvas_length = Int32(clamping: decoder.canvasLength)
        result.settled_length = Int32(clamping: decoder.settledLength)
        result.active_first = Int32(clamping: decoder.active.lowerBound)
        result.active_count = Int32(clamping: decoder.active.count)
        result.block_step = Int32(clamping: decoder.blockStep)
        result.editing_blocks = decoder.isEditingBlocks
        result.forwards = UInt64(clamping: decoder.forwards)
        result.commits = UInt64(clamping: decoder.commits)
        result.prefills = UInt64(clamping: decoder.prefills)
        result.edits = UInt64(clamping: decoder.edits)
        result.computed_positions = UInt64(clamping: decoder.computedPositions)
        result.reused_positions = UInt64(clamping: decoder.reusedPositions)
        result.insertions = UInt64(clamping: decoder.insertions)
        result.deletions = UInt64(clamping: decoder.deletions)
        result.computed_forwards = UInt64(clamping: decoder.computedForwards)
        result.judged_positions = UInt64(clamping: decoder.judgedPositions)
        try CallerStruct(state, "llada_decoder_state").write(result)
    }
}

@_cdecl("llada_decoder_canvas") @implementation
public func llada_decoder_canvas(
    _ decoder: OpaquePointer?, _ tokens: UnsafeMutablePointer<UnsafePointer<Int32>?>?,
    _ states: UnsafeMutablePointer<UnsafePointer<llada_position_state>?>?, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        tokens?.pointee = decoder.canvas.baseAddress
        states?.pointee = decoder.states.baseAddress
        count?.pointee = decoder.canvas.count
    }
}

@_cdecl("llada_decoder_locked") @implementation
public func llada_decoder_locked(
    _ decoder: OpaquePointer?, _ locked: UnsafeMutablePointer<UnsafePointer<Bool>?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let locked else { throw .null("locked") }
        guard let count else { throw .null("count") }
        locked.pointee = decoder.locked.baseAddress
        count.pointee = decoder.locked.count
    }
}

@_cdecl("llada_decoder_output") @implementation
public func llada_decoder_output(
    _ decoder: OpaquePointer?, _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        let room = try Reserve.Room(64 + 4 * decoder.canvasLength)
        defer { room.close() }
        try CallerBuffer(tokens, capacity: capacity, count: count, "tokens").fill(decoder.output)
    }
}

@_cdecl("llada_decoder_active") @implementation
public func llada_decoder_active(
    _ decoder: OpaquePointer?, _ active: UnsafeMutablePointer<llada_active>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let active else { throw .null("active") }
        guard let predictions = try decoder.predictions, let tokens = decoder.canvas.baseAddress,
            let states = decoder.states.baseAddress, let locked = decoder.locked.baseAddress
        else { throw LLaDAError(.state, "there are no predictions before the first forward") }
        var result = llada_active()
        result.first = Int32(clamping: predictions.first)
        result.count = Int32(clamping: predictions.tokens.count)
        result.block_step = Int32(clamping: decoder.blockStep)
        result.editing_blocks = decoder.isEditingBlocks
        result.tokens = tokens + predictions.first
        result.states = states + predictions.first
        result.locked = locked + predictions.first
        result.predictions = predictions.tokens.baseAddress
        result.confidences = predictions.confidences.baseAddress
        result.computed = decoder.computed.baseAddress
        try CallerStruct(active, "llada_active").write(result)
    }
}

@_cdecl("llada_decoder_step_map") @implementation
public func llada_decoder_step_map(
    _ decoder: OpaquePointer?, _ forwards: UnsafeMutablePointer<UnsafePointer<Int32>?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let forwards else { throw .null("forwards") }
        forwards.pointee = decoder.stepMap.baseAddress
        count?.pointee = decoder.stepMap.count
    }
}

@_cdecl("llada_decoder_candidates") @implementation
public func llada_decoder_candidates(
    _ decoder: OpaquePointer?, _ position: Int32, _ candidates: UnsafeMutablePointer<llada_candidate>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        let buffer = try CallerBuffer(candidates, capacity: capacity, count: count, "candidates")
        let best = try decoder.viewCandidates(at: Int(position), count: Int(clamping: UInt(bitPattern: capacity)))
        try buffer.fill(count: best.count) { candidates in
            for (index, found) in best.enumerated() {
                candidates[index] = llada_candidate(
                    token: found.token, logit: found.logit, probability: found.probability)
            }
        }
    }
}

@_cdecl("llada_decoder_keep_candidates") @implementation
public func llada_decoder_keep_candidates(
    _ decoder: OpaquePointer?, _ count: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in
        try decoder.keepCandidates(Int(clamping: UInt(bitPattern: count)))
    }
}

@_cdecl("llada_decoder_logits") @implementation
public func llada_decoder_logits(
    _ decoder: OpaquePointer?, _ position: Int32, _ logits: UnsafeMutablePointer<UnsafePointer<Float>?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let logits else { throw .null("logits") }
        guard let count else { throw .null("count") }
        let row = try decoder.logits(at: Int(position))
        logits.pointee = row.baseAddress
        count.pointee = row.count
    }
}

@_cdecl("llada_decoder_proposal") @implementation
public func llada_decoder_proposal(
    _ decoder: OpaquePointer?, _ edits: UnsafeMutablePointer<UnsafePointer<llada_edit>?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        let decoder = try handle.look()
        guard let edits else { throw .null("edits") }
        guard let count else { throw .null("count") }
        guard let proposal = decoder.proposal else {
            throw LLaDAError(
                .state, "there is no proposal at hand: propose or set_proposal makes one, apply uses it up")
        }
        let view = try handle.show(edits: proposal)
        edits.pointee = view.baseAddress
        count.pointee = view.count
    }
}

extension llada_edit {
    init(_ edit: Decoder.Edit) {
        self.init(
            position: Int32(clamping: edit.position), token: edit.token, confidence: edit.confidence,
            reason: edit.reason.rawValue, kind: edit.kind.rawValue)
    }
}

@_cdecl("llada_decoder_events") @implementation
public func llada_decoder_events(
    _ decoder: OpaquePointer?, _ events: UnsafeMutablePointer<UnsafePointer<llada_event>?>?,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        let decoder = try handle.look()
        guard let events else { throw .null("events") }
        guard let count else { throw .null("count") }
        let view = try handle.show(events: decoder.events)
        events.pointee = view.baseAddress
        count.pointee = view.count
    }
}

extension llada_event {
    init(_ event: Decoder.Event) {
        self.init(
            position: Int32(clamping: event.position), kind: event.kind.rawValue, old_token: event.oldToken,
            new_token: event.newToken, confidence: event.confidence, reason: event.reason.rawValue,
            last: Int32(clamping: event.last))
    }
}
