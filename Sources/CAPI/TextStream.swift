import CLLaDA
import LLaDA

/// The object behind a `llada_text_stream`: the stream, whether it is at work, and the text lent out as a view.
private final class TextStreamHandle {
    private var stream: TextStream
    private let occupancy = Occupancy()
    private var settled: Buffer<CChar>?
    private var draft: Buffer<CChar>?

    init(_ stream: TextStream) { self.stream = stream }

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
        let before = stream.mark
        let update = try body(&stream)
        let texts: (settled: Buffer<CChar>, draft: Buffer<CChar>)
        do throws(LLaDAError) {
            texts = (try Self.copy(update.settled), try Self.copy(update.draft))
        } catch {
            stream.goBack(to: before)
            throw error
        }
        (settled, draft) = texts
        var result = llada_text()
        result.settled = UnsafePointer(texts.settled.pointer)
        result.settled_count = texts.settled.count - 1
        result.draft = UnsafePointer(texts.draft.pointer)
        result.draft_count = texts.draft.count - 1
        target.write(result)
    }

    /// Ends the handle's reference. What a thread has left behind half changed is not taken apart.
    static func free(_ pointer: OpaquePointer) {
        let handle = Unmanaged<TextStreamHandle>.fromOpaque(UnsafeRawPointer(pointer))
        if handle.takeUnretainedValue().occupancy.isOrphaned { return }
        handle.release()
    }

    /// Returns a copy of the text, with a NUL behind it.
    private static func copy(_ text: String) throws(LLaDAError) -> Buffer<CChar> {
        let bytes = text.utf8
        let copy = try Buffer<CChar>(count: bytes.count + 1)
        let raw = UnsafeMutableRawBufferPointer(start: copy.pointer, count: bytes.count)
        _ = raw.initializeMemory(as: UInt8.self, from: bytes)
        copy.pointer[bytes.count] = 0
        return copy
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
            skipSpecialTokens: try skipsControl(flags), mask: mask.map { (mask) throws(LLaDAError) in try string(mask) }
        )
        try handOut(TextStreamHandle(created), to: stream)
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
