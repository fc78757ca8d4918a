import CLLaDA
import LLaDA

@_cdecl("llada_decoder_set_proposal") @implementation
public func llada_decoder_set_proposal(
    _ decoder: OpaquePointer?, _ edits: UnsafePointer<llada_edit>?, _ count: Int,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        // The edits may lie in a view that ends here: its memory stays as it is until the next look.
        let edits = try elements(edits, count, "edits")
        for (index, edit) in edits.enumerated() where Decoder.Edit.Kind(rawValue: edit.kind) == nil {
            throw .argument("kind of edits[\(index)]", found: edit.kind, expected: "a LLADA_EDIT, 0 to 2")
        }
        try handle.interfere { (decoder) throws(LLaDAError) in
            try decoder.setProposal(edits.count) { index in
                let edit = edits[index]
                return Decoder.Edit(
                    position: Int(edit.position), token: edit.token, confidence: edit.confidence,
                    kind: Decoder.Edit.Kind(rawValue: edit.kind) ?? .write)
            }
        }
    }
}

@_cdecl("llada_decoder_set_token") @implementation
public func llada_decoder_set_token(
    _ decoder: OpaquePointer?, _ position: Int32, _ token: Int32, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in try decoder.setToken(at: Int(position), to: token) }
}

@_cdecl("llada_decoder_mask") @implementation
public func llada_decoder_mask(
    _ decoder: OpaquePointer?, _ position: Int32, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in try decoder.mask(at: Int(position)) }
}

@_cdecl("llada_decoder_lock") @implementation
public func llada_decoder_lock(
    _ decoder: OpaquePointer?, _ position: Int32, _ locked: Bool, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in try decoder.lock(at: Int(position), locked) }
}

@_cdecl("llada_decoder_ban") @implementation
public func llada_decoder_ban(
    _ decoder: OpaquePointer?, _ token: Int32, _ position: Int32, _ banned: Bool,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in
        try decoder.ban(token, at: position == -1 ? nil : Int(position), banned)
    }
}

@_cdecl("llada_decoder_set_logit_bias") @implementation
public func llada_decoder_set_logit_bias(
    _ decoder: OpaquePointer?, _ token: Int32, _ position: Int32, _ bias: Float,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in
        try decoder.setLogitBias(of: token, at: position == -1 ? nil : Int(position), to: bias)
    }
}

@_cdecl("llada_decoder_end_block") @implementation
public func llada_decoder_end_block(
    _ decoder: OpaquePointer?, _ end: llada_block_end, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    interfere(decoder, error) { (decoder) throws(LLaDAError) in
        switch Int(end) {
        case LLADA_BLOCK_END_AUTO: decoder.blockEnds = nil
        case LLADA_BLOCK_END_NOW: decoder.blockEnds = true
        case LLADA_BLOCK_END_NOT_YET: decoder.blockEnds = false
        default: throw .argument("end", found: end, expected: "a LLADA_BLOCK_END, 0 to 2")
        }
    }
}

@_cdecl("llada_decoder_set_rule") @implementation
public func llada_decoder_set_rule(
    _ decoder: OpaquePointer?, _ rule: llada_rule?, _ user: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        try handle.work { (decoder) throws(LLaDAError) in
            handle.setRule(rule.map { HostRule(function: $0, user: user) }, of: decoder)
        }
    }
}

extension DecoderHandle {
    /// Gives the handle's decoder a C rule, which is called with the handle.
    func setRule(_ rule: HostRule?, of decoder: Decoder) {
        hostRule = rule
        guard let rule else {
            decoder.rule = nil
            return
        }
        // The handle owns the decoder, and so the rule.
        unowned let handle = self
        let pointer = OpaquePointer(Unmanaged.passUnretained(self).toOpaque())
        func call(_: Decoder) throws(LLaDAError) {
            if handle.callRule({ rule.function(pointer, rule.user) }) != 0 {
                throw LLaDAError(.stopped, "the rule asked to stop")
            }
        }
        decoder.rule = call
    }
}
