import CLLaDA
import Glibc
import LLaDA
import Synchronization

/// A C rule, and the pointer that is passed to it.
struct HostRule {
    let function: llada_rule
    let user: UnsafeMutableRawPointer?
}

/// The object behind a `llada_decoder`: the decoder, who is using it, and the arrays lent out as views.
final class DecoderHandle {
    private let decoder: Decoder
    /// The request to stop. Any thread may use it at any time.
    let cancellation: Cancellation

    private let busy = Atomic<Bool>(false)
    /// The thread that is running a callback; 0 if none is. No thread has the number 0, because pthread_t is an
    /// address.
    private let callbackThread = Atomic<UInt>(0)

    /// Whether that callback is a rule. Only the callback's thread may read it.
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

    /// Returns the handle behind a pointer. The result holds a reference of its own, so a callback may free the decoder
    /// that it is called by.
    static func at(_ pointer: OpaquePointer?) throws(LLaDAError) -> DecoderHandle {
        guard let pointer else { throw .null("decoder") }
        return Unmanaged<DecoderHandle>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue()
    }

    // MARK: Access

    /// Runs a function that is not const: one at a time, and not in a callback (`.busy`). Ends all views.
    func work(_ body: (Decoder) throws(LLaDAError) -> Void) throws(LLaDAError) {
        try begin()
        defer { end() }
        try body(decoder)
    }

    /// Runs a function that interferes: as `work`, and also in the decoder's own rule.
    func interfere(_ body: (Decoder) throws(LLaDAError) -> Void) throws(LLaDAError) {
        guard callbackThread.load(ordering: .relaxed) == UInt(pthread_self()), isInRule else { return try work(body) }
        endViews()
        try body(decoder)
    }

    /// Runs `work` on several handles at once. Each must be there only once.
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

    /// Returns the decoder for a const function, which may run at rest or in a callback. Throws `.busy` otherwise.
    func look() throws(LLaDAError) -> Decoder {
        if busy.load(ordering: .acquiring), callbackThread.load(ordering: .relaxed) != UInt(pthread_self()) {
            throw LLaDAError(.busy, "the decoder is at work on another thread")
        }
        return decoder
    }

    /// Calls back during `work`. Views that an earlier callback took end here.
    func callBack(_ body: () -> Int32) -> Int32 {
        endViews()
        callbackThread.store(UInt(pthread_self()), ordering: .relaxed)
        defer { callbackThread.store(0, ordering: .relaxed) }
        return HostThread.callBack(body)
    }

    /// Calls a rule, which may interfere, during `work`.
    func callRule(_ body: () -> Int32) -> Int32 {
        isInRule = true
        defer { isInRule = false }
        return callBack(body)
    }

    // MARK: Views. Each is made once and keeps its address, so that a second look does not end the first.

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

    /// Returns a copy of the elements. The address is never NULL, even if there are none.
    private static func copy<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeBufferPointer<Element> {
        let start = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        start.initialize(from: elements, count: elements.count)
        return UnsafeBufferPointer(start: start, count: elements.count)
    }
}

/// Runs `body` for a function that a rule may call too, and returns its status.
func interfere(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?,
    _ body: (Decoder) throws(LLaDAError) -> Void
) -> llada_status {
    answer(error) { () throws(LLaDAError) in try DecoderHandle.at(decoder).interfere(body) }
}

/// Runs `body` for a function that is not const, on the decoder behind a pointer, and returns its status.
func work(
    _ decoder: OpaquePointer?, _ error: UnsafeMutablePointer<llada_error>?,
    _ body: (Decoder) throws(LLaDAError) -> Void
) -> llada_status {
    answer(error) { () throws(LLaDAError) in try DecoderHandle.at(decoder).work(body) }
}
