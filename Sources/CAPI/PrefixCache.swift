import CLLaDA
import LLaDA

/// Returns the cache behind a handle. The result holds a reference of its own.
func prefixCache(_ handle: OpaquePointer?) throws(LLaDAError) -> PrefixCache {
    guard let handle else { throw .null("cache") }
    return Unmanaged<PrefixCache>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
}

@_cdecl("llada_prefix_cache_create") @implementation
public func llada_prefix_cache_create(
    _ model: OpaquePointer?, _ max_bytes: UInt64, _ cache: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        guard let cache else { throw .null("cache") }
        let created = try model.prefixCache(maxBytes: Int(clamping: max_bytes))
        try handOut(created, to: cache)
    }
}

@_cdecl("llada_prefix_cache_free") @implementation
public func llada_prefix_cache_free(_ cache: OpaquePointer?) {
    guard let cache else { return }
    HostThread.enter { Unmanaged<PrefixCache>.fromOpaque(UnsafeRawPointer(cache)).release() }
}

@_cdecl("llada_prefix_cache_get_info") @implementation
public func llada_prefix_cache_get_info(
    _ cache: OpaquePointer?, _ info: UnsafeMutablePointer<llada_prefix_cache_info>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let statistics = try prefixCache(cache).statistics
        guard let info else { throw .null("info") }
        var result = llada_prefix_cache_info()
        result.max_bytes = UInt64(clamping: statistics.maxBytes)
        result.bytes = UInt64(clamping: statistics.bytes)
        result.blocks = UInt64(clamping: statistics.blocks)
        result.pinned_blocks = UInt64(clamping: statistics.pinnedBlocks)
        result.lookups = UInt64(clamping: statistics.lookups)
        result.hits = UInt64(clamping: statistics.hits)
        result.reused_tokens = UInt64(clamping: statistics.reusedTokens)
        result.evicted_blocks = UInt64(clamping: statistics.evictedBlocks)
        try CallerStruct(info, "llada_prefix_cache_info").write(result)
    }
}

@_cdecl("llada_prefix_cache_pin") @implementation
public func llada_prefix_cache_pin(
    _ cache: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ count: Int, _ block_length: Int32, _ pinned: Bool,
    _ found: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let cache = try prefixCache(cache)
        let tokens = try elements(tokens, count, "tokens")
        let pinned = try cache.pin(tokens, blockLength: Int(block_length), pinned)
        found?.pointee = pinned
    }
}

@_cdecl("llada_prefix_cache_clear") @implementation
public func llada_prefix_cache_clear(
    _ cache: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in try prefixCache(cache).clear() }
}
