import CLLaDA
import LLaDA

@_cdecl("llada_decoders_forward") @implementation
public func llada_decoders_forward(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        try DecoderHandle.work(elements(decoders, count, "decoders")) { (handles) throws(LLaDAError) in
            try DecoderBatch.forward(count) { handles.decoder($0) }
        }
    }
}

@_cdecl("llada_decoders_step") @implementation
public func llada_decoders_step(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        try DecoderHandle.work(elements(decoders, count, "decoders")) { (handles) throws(LLaDAError) in
            try DecoderBatch.step(count) { handles.decoder($0) }
        }
    }
}

@_cdecl("llada_decoders_run") @implementation
public func llada_decoders_run(
    _ decoders: UnsafePointer<OpaquePointer?>?, _ count: Int, _ most_in_flight: Int, _ callback: llada_step_callback?,
    _ user: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let most = most_in_flight == 0 ? Int.max : Int(clamping: UInt(bitPattern: most_in_flight))
        try DecoderHandle.work(elements(decoders, count, "decoders")) { (handles) throws(LLaDAError) in
            try DecoderBatch.run(count, { handles.decoder($0) }, mostInFlight: most) { (index) throws(LLaDAError) in
                // Each decoder is called back under the pointer by which the caller knows it.
                try handles[index].afterStep(callback, handles.pointers[index], user)
            }
        }
    }
}
