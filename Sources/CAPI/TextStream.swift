import CLLaDA
import LLaDA

/// The object behind a `llada_text_stream`: the stream, whether it is at work, and the text lent out as a view.
private final class TextStreamHandle {
    private var stream: TextStream
    private let occupancy = Occupancy()
    private var settled = UnsafeBufferPointer<CChar>(start: nil, count: 0)
    private var draft = UnsafeBufferPointer<CChar>(start: nil, count: 0)

    init(_ stream: TextStream) { self.stream = stream }

    deinit { endViews() }

    static func at(_ pointer: OpaquePointer?) throws(LLaDAError) -> TextStreamHandle {
        guard let pointer else { throw .null("stream") }
        return Unmanaged<TextStreamHandle>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue()
    }

    /// Runs `body`, and lends what it gives to the caller's struct.
    func lend(
        to text: UnsafeMutablePointer<llada_text>?,
        _ body: (inout TextStream) throws(LLaDAError) -> TextStream.Update
    ) throws(LLaDAError) {
        guard let text else { throw .null("text") }
        let target = try CallerStruct(text, "llada_text")
        if occupancy.isOrphaned {
            throw LLaDAError(
                .state,
                "the stream was at work on another thread when this process was forked; here it can only be freed")
        }
        guard occupancy.begin() else { throw LLaDAError(.busy, "the stream is at work on another thread") }
        defer { occupancy.end() }
        let update = try body(&stream)
        endViews()
        settled = Self.copy(update.settled)
        draft = Self.copy(update.draft)
        var result = llada_text()
        result.settled = settled.baseAddress
        result.settled_count = settled.count - 1
        result.draft = draft.baseAddress
        result.draft_count = draft.count - 1
        target.write(result)
    }

    /// Ends the handle's reference. What a thread has left behind half changed is not taken apart.
    static func free(_ pointer: OpaquePointer) {
        let handle = Unmanaged<TextStreamHandle>.fromOpaque(UnsafeRawPointer(pointer))
        if handle.takeUnretainedValue().occupancy.isOrphaned { return }
        handle.release()
    }

    private func endViews() {
        settled.deallocate()
        draft.deallocate()
    }

    /// Returns a copy of the text, with a NUL behind it.
    private static func copy(_ text: String) -> UnsafeBufferPointer<CChar> {
        let bytes = text.utf8.map { CChar(bitPattern: $0) } + [0]
        let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
        _ = copy.initialize(from: bytes)
        return UnsafeBufferPointer(copy)
    }
}

@_cdecl("llada_text_stream_create") @implementation
public func llada_text_stream_create(
    _ model: OpaquePointer?, _ flags: llada_text_flags, _ mask: UnsafePointer<CChar>?,
    _ stream: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        guard let stream else { throw .null("stream") }
        let created = try model.textStream(
            skipSpecialTokens: try skipsControl(flags), mask: mask.map { String(decoding: bytes($0), as: UTF8.self) })
        stream.pointee = OpaquePointer(Unmanaged.passRetained(TextStreamHandle(created)).toOpaque())
    }
}

@_cdecl("llada_text_stream_free") @implementation
public func llada_text_stream_free(_ stream: OpaquePointer?) {
    guard let stream else { return }
    HostThread.enter { TextStreamHandle.free(stream) }
}

@_cdecl("llada_text_stream_update") @implementation
public func llada_text_stream_update(
    _ stream: OpaquePointer?, _ decoder: OpaquePointer?, _ text: UnsafeMutablePointer<llada_text>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try TextStreamHandle.at(stream)
        let decoder = try DecoderHandle.at(decoder).look()
        try handle.lend(to: text) { (stream) throws(LLaDAError) in try stream.update(decoder) }
    }
}

@_cdecl("llada_text_stream_push") @implementation
public func llada_text_stream_push(
    _ stream: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ token_count: Int,
    _ text: UnsafeMutablePointer<llada_text>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let handle = try TextStreamHandle.at(stream)
        let tokens = try elements(tokens, token_count, "tokens", "token_count")
        try handle.lend(to: text) { (stream) throws(LLaDAError) in
            TextStream.Update(settled: try stream.push(tokens), draft: "")
        }
    }
}

@_cdecl("llada_text_stream_finish") @implementation
public func llada_text_stream_finish(
    _ stream: OpaquePointer?, _ text: UnsafeMutablePointer<llada_text>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        try TextStreamHandle.at(stream).lend(to: text) { (stream) throws(LLaDAError) in
            TextStream.Update(settled: stream.finish(), draft: "")
        }
    }
}
