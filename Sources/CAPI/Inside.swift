import CLLaDA
import LLaDA

@_cdecl("llada_decoder_watch") @implementation
public func llada_decoder_watch(
    _ decoder: OpaquePointer?, _ what: llada_watch_flags, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in
        let known = UInt32(LLADA_WATCH_ROUTING | LLADA_WATCH_HIDDEN)
        guard what & ~known == 0 else {
            throw .argument("what", found: what, expected: "flags LLADA_WATCH, 0 to \(known)")
        }
        try decoder.watch(
            routing: what & UInt32(LLADA_WATCH_ROUTING) != 0, hidden: what & UInt32(LLADA_WATCH_HIDDEN) != 0)
    }
}

@_cdecl("llada_decoder_routing") @implementation
public func llada_decoder_routing(
    _ decoder: OpaquePointer?, _ layer: Int32, _ experts: UnsafeMutablePointer<Int32>?,
    _ weights: UnsafeMutablePointer<Float>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        let expertBuffer = try CallerBuffer(experts, capacity: capacity, count: count, "experts")
        let weightBuffer = try CallerBuffer(weights, capacity: capacity, count: count, "weights")
        let routing = try decoder.routing(layer: Int(layer))
        try expertBuffer.fill(routing.experts)
        try weightBuffer.fill(routing.weights)
    }
}

@_cdecl("llada_decoder_hidden") @implementation
public func llada_decoder_hidden(
    _ decoder: OpaquePointer?, _ layer: Int32, _ states: UnsafeMutablePointer<Float>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        let buffer = try CallerBuffer(states, capacity: capacity, count: count, "states")
        try buffer.fill(decoder.hidden(layer: Int(layer)))
    }
}

@_cdecl("llada_decoder_expert_usage") @implementation
public func llada_decoder_expert_usage(
    _ decoder: OpaquePointer?, _ counts: UnsafeMutablePointer<UInt64>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        try CallerBuffer(counts, capacity: capacity, count: count, "counts").fill(decoder.expertUsage())
    }
}

@_cdecl("llada_decoder_disable_expert") @implementation
public func llada_decoder_disable_expert(
    _ decoder: OpaquePointer?, _ expert: Int32, _ layer: Int32, _ disabled: Bool,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    work(decoder, error) { (decoder) throws(LLaDAError) in
        try decoder.disableExpert(Int(expert), layer: Int(layer), disabled)
    }
}
