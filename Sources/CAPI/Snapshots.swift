import CLLaDA
import Glibc
import LLaDA

@_cdecl("llada_decoder_save") @implementation
public func llada_decoder_save(
    _ decoder: OpaquePointer?, _ with_pages: Bool, _ progress: llada_progress_callback?,
    _ progress_user: UnsafeMutableRawPointer?, _ buffer: UnsafeMutableRawPointer?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let count else { throw .null("count") }
        if buffer == nil && capacity != 0 { throw .null("buffer") }
        // A `size_t` arrives as `Int`; a capacity above `Int.max` is a large capacity.
        let room = capacity < 0 ? Int.max : capacity
        let needed = try decoder.snapshot(
            into: UnsafeMutableRawBufferPointer(start: buffer, count: room), includingPages: with_pages,
            progress: CAPI.progress(progress, progress_user, of: "saving a decoder"))
        count.pointee = needed
        if needed > room {
            throw LLaDAError(.bufferTooSmall, "buffer has room for \(room) bytes; \(needed) are needed")
        }
    }
}

@_cdecl("llada_decoder_save_file") @implementation
public func llada_decoder_save_file(
    _ decoder: OpaquePointer?, _ with_pages: Bool, _ path: UnsafePointer<CChar>?,
    _ progress: llada_progress_callback?, _ progress_user: UnsafeMutableRawPointer?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        let path = try CAPI.path(path)
        try decoder.save(
            to: path, includingPages: with_pages,
            progress: CAPI.progress(progress, progress_user, of: "saving \(String(cString: path))"))
    }
}

@_cdecl("llada_decoder_restore") @implementation
public func llada_decoder_restore(
    _ model: OpaquePointer?, _ cache: OpaquePointer?, _ snapshot: UnsafeRawPointer?, _ count: Int,
    _ progress: llada_progress_callback?, _ progress_user: UnsafeMutableRawPointer?,
    _ decoder: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    restore(model, cache, decoder, error) { (model, cache) throws(LLaDAError) in
        guard count >= 0 else {
            throw .argument("count", found: UInt(bitPattern: count), expected: "at most \(Int.max)")
        }
        if snapshot == nil && count > 0 { throw .null("snapshot") }
        return try model.restore(
            UnsafeRawBufferPointer(start: snapshot, count: count), prefixCache: cache,
            progress: CAPI.progress(progress, progress_user, of: "restoring a decoder"))
    }
}

@_cdecl("llada_decoder_restore_file") @implementation
public func llada_decoder_restore_file(
    _ model: OpaquePointer?, _ cache: OpaquePointer?, _ path: UnsafePointer<CChar>?,
    _ progress: llada_progress_callback?, _ progress_user: UnsafeMutableRawPointer?,
    _ decoder: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    restore(model, cache, decoder, error) { (model, cache) throws(LLaDAError) in
        let path = try CAPI.path(path)
        return try withFile(path) { (path) throws(LLaDAError) in
            try model.restore(
                file: path, prefixCache: cache,
                progress: CAPI.progress(progress, progress_user, of: "restoring \(path)"))
        }
    }
}

private func restore(
    _ model: OpaquePointer?, _ cache: OpaquePointer?, _ decoder: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<llada_error>?, _ make: (Model, PrefixCache?) throws(LLaDAError) -> Decoder
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        guard let decoder else { throw .null("decoder") }
        let restored = DecoderHandle(try make(model, cache == nil ? nil : try prefixCache(cache)))
        try handOut(restored, to: decoder)
    }
}

@_cdecl("llada_prefix_cache_save") @implementation
public func llada_prefix_cache_save(
    _ cache: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ progress: llada_progress_callback?,
    _ progress_user: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let cache = try prefixCache(cache)
        let path = try CAPI.path(path)
        try cache.save(
            to: path, progress: CAPI.progress(progress, progress_user, of: "saving \(String(cString: path))"))
    }
}

@_cdecl("llada_prefix_cache_load") @implementation
public func llada_prefix_cache_load(
    _ cache: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ progress: llada_progress_callback?,
    _ progress_user: UnsafeMutableRawPointer?, _ added: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let cache = try prefixCache(cache)
        let path = try CAPI.path(path)
        let count = try withFile(path) { (path) throws(LLaDAError) in
            try cache.load(from: path, progress: CAPI.progress(progress, progress_user, of: "loading \(path)"))
        }
        added?.pointee = count
    }
}
