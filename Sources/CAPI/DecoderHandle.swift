import CLLaDA
import Glibc
import LLaDA
import Synchronization

/// A C rule, and what is handed to it.
struct HostRule {
    let function: llada_rule
    let user: UnsafeMutableRawPointer?
}

/// What a `llada_decoder` points to: the decoder, who is at work on it, and the arrays lent out as views.
final class DecoderHandle {
    private let decoder: Decoder
    /// May be used from any thread at any time.
    let cancellation: Cancellation

    private let busy = Atomic<Bool>(false)
    /// The thread in which a callback runs right now; 0 if none does. There is no thread 0: pthread_t is an address.
    private let callbackThread = Atomic<UInt>(0)

    /// Whether that callback is a rule; for its thread alone.
    private var isInRule = false

    /// The rule as the host gave it, for forks.
    var hostRule: HostRule?

    private var edits: UnsafeBufferPointer<llada_edit>?
    private var events: UnsafeBufferPointer<llada_event>?

    init(_ decoder: Decoder) {
        self.decoder = decoder
        cancellation = decoder.cancellation
    }

    deinit { endViews() }

    /// The handle behind a pointer. The reference returned is one more hold, so that a callback that frees the decoder
    /// it is called by does no harm.
    static func at(_ pointer: OpaquePointer?) throws(LLaDAError) -> DecoderHandle {
        guard let pointer else { throw .null("decoder") }
        return Unmanaged<DecoderHandle>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue()
    }

    // MARK: Who may

    /// For functions that are not const: one at a time, and none from a callback. Ends all views.
    func work(_ body: (Decoder) throws(LLaDAError) -> Void) throws(LLaDAError) {
        try begin()
        defer { end() }
        try body(decoder)
    }

    /// For functions that interfere: as `work`, and from the decoder's own rule.
    func interfere(_ body: (Decoder) throws(LLaDAError) -> Void) throws(LLaDAError) {
        guard callbackThread.load(ordering: .relaxed) == UInt(pthread_self()), isInRule else { return try work(body) }
        endViews()
        try body(decoder)
    }

    /// `work` on several at once; each is there once.
    static func work(
        _ handles: [DecoderHandle], _ body: ([Decoder]) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        var begun = 0
        defer { for handle in handles[..<begun] { handle.end() } }
        for handle in handles {
            try handle.begin()
            begun += 1
        }
        try body(handles.map(\.decoder))
    }

    private func begin() throws(LLaDAError) {
        guard busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            throw LLaDAError(.busy, "the decoder is at work: on another thread, or in the caller of this callback")
        }
        endViews()
    }

    private func end() { busy.store(false, ordering: .releasing) }

    /// For const functions: at rest, or in a callback.
    func look() throws(LLaDAError) -> Decoder {
        if busy.load(ordering: .acquiring), callbackThread.load(ordering: .relaxed) != UInt(pthread_self()) {
            throw LLaDAError(.busy, "the decoder is at work on another thread")
        }
        return decoder
    }

    /// Calls back in the midst of `work`. Views that an earlier callback took end here.
    func callBack(_ body: () -> Int32) -> Int32 {
        endViews()
        callbackThread.store(UInt(pthread_self()), ordering: .relaxed)
        defer { callbackThread.store(0, ordering: .relaxed) }
        return body()
    }

    /// The same for a rule, which may interfere.
    func callRule(_ body: () -> Int32) -> Int32 {
        isInRule = true
        defer { isInRule = false }
        return callBack(body)
    }

    // MARK: Views. Each is made once and then stays where it is, so that a second look does not end the first.

    func editsView(_ make: () -> [llada_edit]) -> UnsafeBufferPointer<llada_edit> {
        let view = edits ?? Self.copy(make())
        edits = view
        return view
    }

    func eventsView(_ make: () -> [llada_event]) -> UnsafeBufferPointer<llada_event> {
        let view = events ?? Self.copy(make())
        events = view
        return view
    }

    private func endViews() {
        edits?.deallocate()
        edits = nil
        events?.deallocate()
        events = nil
    }

    /// Never NULL, not even when there is nothing to show.
    private static func copy<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeBufferPointer<Element> {
        let start = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        start.initialize(from: elements, count: elements.count)
        return UnsafeBufferPointer(start: start, count: elements.count)
    }
}

/// What functions do that a rule may call as well.
func interfere(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?,
    _ body: (Decoder) throws(LLaDAError) -> Void
) -> llada_status {
    answer(error) { () throws(LLaDAError) in try DecoderHandle.at(decoder).interfere(body) }
}

/// What most functions that are not const do: work on the decoder behind a pointer, and answer.
func work(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?,
    _ body: (Decoder) throws(LLaDAError) -> Void
) -> llada_status {
    answer(error) { () throws(LLaDAError) in try DecoderHandle.at(decoder).work(body) }
}
