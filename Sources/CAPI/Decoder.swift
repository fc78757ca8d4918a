import CLLaDA
import LLaDA

@_cdecl("llada_decoder_options_init") @implementation
public func llada_decoder_options_init(
    _ options: UnsafeMutablePointer<llada_decoder_options>?, _ size: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    let defaults = Decoder.Options()
    var result = llada_decoder_options()
    result.block_length = Int32(clamping: defaults.blockLength)
    result.gen_length = Int32(clamping: defaults.genLength)
    result.eos_early_stop = defaults.eosEarlyStop
    result.infill = defaults.infill
    result.use_cache = defaults.useCache
    return answer(error) { () throws(LLaDAError) in
        try CallerStruct.initialize(options, size, "llada_decoder_options", to: result)
    }
}

@_cdecl("llada_decoder_create") @implementation
public func llada_decoder_create(
    _ model: OpaquePointer?, _ prompt: UnsafePointer<Int32>?, _ prompt_count: Int,
    _ options: UnsafePointer<llada_decoder_options>?, _ decoder: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let prompt = try elements(prompt, prompt_count, "prompt", "prompt_count")
        guard let decoder else { throw .null("decoder") }
        let options = try decoderOptions(options)
        try Reserve.withRoom(64 + prompt.count * MemoryLayout<Int32>.stride) { () throws(LLaDAError) in
            try handOut(DecoderHandle(model.decoder(prompt: Array(prompt), options: options)), to: decoder)
        }
    }
}

private func decoderOptions(_ pointer: UnsafePointer<llada_decoder_options>?) throws(LLaDAError) -> Decoder.Options {
    var options = Decoder.Options()
    guard let pointer else { return options }
    let fields = try CallerStruct(pointer, "llada_decoder_options")
    if let value = fields[\.block_length] { options.blockLength = Int(value) }
    if let value = fields[\.gen_length] { options.genLength = Int(value) }
    if let value = fields[flag: \.eos_early_stop] { options.eosEarlyStop = value }
    if let value = fields[flag: \.infill] { options.infill = value }
    if let value = fields[flag: \.use_cache] { options.useCache = value }
    if let policy = fields[\.policy] ?? nil { options.policy = try Policy(policy) }
    if let cache = fields[\.prefix_cache] ?? nil { options.prefixCache = try prefixCache(cache) }
    return options
}

/// Releases the caller's reference. In a callback of the decoder itself that is safe: the running call has its own.
@_cdecl("llada_decoder_free") @implementation
public func llada_decoder_free(_ decoder: OpaquePointer?) {
    guard let decoder else { return }
    HostThread.enter { DecoderHandle.free(decoder) }
}

// MARK: Stepping

@_cdecl("llada_decoder_forward") @implementation
public func llada_decoder_forward(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.forward() }
}

@_cdecl("llada_decoder_propose") @implementation
public func llada_decoder_propose(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.propose() }
}

@_cdecl("llada_decoder_apply") @implementation
public func llada_decoder_apply(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.apply() }
}

@_cdecl("llada_decoder_step") @implementation
public func llada_decoder_step(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in try decoder.step() }
}

@_cdecl("llada_decoder_run_block") @implementation
public func llada_decoder_run_block(
    _ decoder: OpaquePointer?, _ callback: llada_step_callback?, _ user: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        try handle.work { (working) throws(LLaDAError) in
            try working.runBlock { (_) throws(LLaDAError) in try handle.afterStep(callback, decoder, user) }
        }
    }
}

@_cdecl("llada_decoder_run") @implementation
public func llada_decoder_run(
    _ decoder: OpaquePointer?, _ callback: llada_step_callback?, _ user: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        try handle.work { (working) throws(LLaDAError) in
            try working.run { (_) throws(LLaDAError) in try handle.afterStep(callback, decoder, user) }
        }
    }
}

extension DecoderHandle {
    /// Calls a C callback, if there is one. Throws `.stopped` if it asks to stop.
    func afterStep(
        _ callback: llada_step_callback?, _ pointer: OpaquePointer?, _ user: UnsafeMutableRawPointer?
    ) throws(LLaDAError) {
        guard let callback else { return }
        if callBack({ callback(pointer, user) }) != 0 {
            throw LLaDAError(.stopped, "the step callback asked to stop")
        }
    }
}

@_cdecl("llada_decoder_set_progress") @implementation
public func llada_decoder_set_progress(
    _ decoder: OpaquePointer?, _ progress: llada_progress_callback?, _ progress_user: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try DecoderHandle.at(decoder)
        try handle.work { (decoder) throws(LLaDAError) in
            handle.setProgress(progress.map { HostProgress(function: $0, user: progress_user) }, of: decoder)
        }
    }
}

extension DecoderHandle {
    /// Gives the handle's decoder a C callback for the progress of its forwards.
    func setProgress(_ progress: HostProgress?, of decoder: Decoder) {
        hostProgress = progress
        guard let progress else {
            decoder.progress = nil
            return
        }
        unowned let handle = self  // it owns the decoder
        decoder.progress = { (part) throws(LLaDAError) in
            if handle.callBack({ progress.function(part, progress.user) }) != 0 {
                throw LLaDAError(.stopped, "the forward was stopped by the progress callback")
            }
        }
    }
}

@_cdecl("llada_decoder_cancel") @implementation
public func llada_decoder_cancel(_ decoder: OpaquePointer?) {
    guard let decoder else { return }
    Unmanaged<DecoderHandle>.fromOpaque(UnsafeRawPointer(decoder)).takeUnretainedValue().cancellation.cancel()
}
