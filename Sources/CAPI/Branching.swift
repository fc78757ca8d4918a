import CLLaDA
import LLaDA

@_cdecl("llada_decoder_fork") @implementation
public func llada_decoder_fork(
    _ decoder: OpaquePointer?, _ policy: UnsafePointer<llada_policy>?, _ fork: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        let decoder = try handle.look()
        guard let fork else { throw .null("fork") }
        var newPolicy: Policy?
        if let policy { newPolicy = try Policy(policy) }
        let copy = try decoder.fork(policy: newPolicy)
        let created = DecoderHandle(copy)
        // Those that the engine copied belong to the origin's handle.
        created.setRule(handle.hostRule, of: copy)
        created.setProgress(handle.hostProgress, of: copy)
        try handOut(created, to: fork)
    }
}

@_cdecl("llada_decoder_truncate") @implementation
public func llada_decoder_truncate(
    _ decoder: OpaquePointer?, _ position: Int32, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.truncate(to: Int(position)) }
}
