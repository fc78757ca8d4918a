import CLLaDA
import LLaDA

@_cdecl("llada_decoders_forward") @implementation
public func llada_decoders_forward(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        try DecoderHandle.work(handles(decoders, count)) { (decoders) throws(LLaDAError) in
            try DecoderBatch.forward(decoders)
        }
    }
}

@_cdecl("llada_decoders_step") @implementation
public func llada_decoders_step(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        try DecoderHandle.work(handles(decoders, count)) { (decoders) throws(LLaDAError) in
            try DecoderBatch.step(decoders)
        }
    }
}

@_cdecl("llada_decoders_run") @implementation
public func llada_decoders_run(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ most_in_flight: Int, _ callback: llada_step_callback?,
    _ user: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handles = try handles(decoders, count)
        let most = most_in_flight == 0 ? Int.max : Int(clamping: UInt(bitPattern: most_in_flight))
        try DecoderHandle.work(handles) { (working) throws(LLaDAError) in
            // Each decoder is called back under the pointer by which the caller knows it.
            var afterStep: [ObjectIdentifier: (Decoder) throws(LLaDAError) -> Void] = [:]
            for (index, decoder) in working.enumerated() {
                afterStep[ObjectIdentifier(decoder)] = handles[index].afterStep(callback, decoders?[index], user)
            }
            try DecoderBatch.run(working, mostInFlight: most) { (decoder) throws(LLaDAError) in
                try afterStep[ObjectIdentifier(decoder)]?(decoder)
            }
        }
    }
}

/// Returns the handles of a list. Throws `.invalidArgument` if a decoder is there twice.
private func handles(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int
) throws(LLaDAError) -> [DecoderHandle] {
    let decoders = try elements(decoders, count, "decoders")
    var seen: [OpaquePointer: Int] = [:]
    var handles: [DecoderHandle] = []
    for (index, decoder) in decoders.enumerated() {
        guard let decoder else { throw .null("decoders[\(index)]") }
        if let before = seen.updateValue(index, forKey: decoder) {
            throw LLaDAError(.invalidArgument, "decoders[\(index)] is decoders[\(before)]; expected each once")
        }
        handles.append(try DecoderHandle.at(decoder))
    }
    return handles
}
