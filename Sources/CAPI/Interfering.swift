import CLLaDA
import LLaDA

@_cdecl("llada_decoder_set_proposal") @implementation
public func llada_decoder_set_proposal(
    _ decoder: OpaquePointer?, _ edits: UnsafePointer<llada_edit>?, _ count: Int,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        // Taken before the work begins: they may lie in a view that it ends.
        let edits = try elements(edits, count, "edits").map {
            Decoder.Edit(position: Int($0.position), token: $0.token, confidence: $0.confidence, reason: .host)
        }
        try handle.work { (decoder) throws(LLaDAError) in try decoder.setProposal(edits) }
    }
}

@_cdecl("llada_decoder_set_token") @implementation
public func llada_decoder_set_token(
    _ decoder: OpaquePointer?, _ position: Int32, _ token: Int32, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.setToken(token, at: Int(position)) }
}

@_cdecl("llada_decoder_mask") @implementation
public func llada_decoder_mask(
    _ decoder: OpaquePointer?, _ position: Int32, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.mask(at: Int(position)) }
}

@_cdecl("llada_decoder_lock") @implementation
public func llada_decoder_lock(
    _ decoder: OpaquePointer?, _ position: Int32, _ locked: Bool, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.lock(at: Int(position), locked) }
}

@_cdecl("llada_decoder_ban") @implementation
public func llada_decoder_ban(
    _ decoder: OpaquePointer?, _ position: Int32, _ token: Int32, _ banned: Bool,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in
        try decoder.ban(token, at: position == -1 ? nil : Int(position), banned)
    }
}
