import CLLaDA
import Glibc
import LLaDA
import Synchronization

/// A C progress callback, and the pointer that is passed to it.
struct HostProgress {
    let function: llada_progress_callback
    let user: UnsafeMutableRawPointer?
}

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

    private let occupancy = Occupancy()
    /// The thread that is running a callback; 0 if none is. No thread has the number 0, because pthread_t is an
    /// address.
    private let callbackThread = Atomic<UInt>(0)

    /// Whether that callback is a rule. Only the callback's thread may read it.
    private var isInRule = false

    /// The rule as the host gave it, for forks.
    var hostRule: HostRule?
    /// The progress callback as the host gave it, for forks.
    var hostProgress: HostProgress?

    private var edits = View<llada_edit>()
    private var events = View<llada_event>()

    init(_ decoder: Decoder) {
        self.decoder = decoder
        cancellation = decoder.cancellation
    }

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
        guard isCallingBackHere, isInRule else { return try work(body) }
        endViews()
        try body(decoder)
    }

    /// Runs `work` on several handles at once. Throws `.invalidArgument` if one is there twice.
    static func work(
        _ pointers: UnsafeBufferPointer<OpaquePointer?>, _ body: (Handles) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        for (index, pointer) in pointers.enumerated() where pointer == nil { throw .null("decoders[\(index)]") }
        let room = try Reserve.Room(16 * pointers.count)
        defer { room.close() }
        // A copy: a callback may change the caller's list. That of 128 pointers fits on the stack.
        let failure = withUnsafeTemporaryAllocation(of: OpaquePointer.self, capacity: pointers.count) { list in
            for (index, pointer) in pointers.enumerated() {
                if let pointer { list.initializeElement(at: index, to: pointer) }
            }
            do throws(LLaDAError) {
                try work(Handles(pointers: UnsafeBufferPointer(list)), body)
                return LLaDAError?.none
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// A list of handles. A callback may free them: each has one more reference while they work.
    struct Handles {
        let pointers: UnsafeBufferPointer<OpaquePointer>

        var count: Int { pointers.count }
        subscript(index: Int) -> DecoderHandle { reference(index).takeUnretainedValue() }
        func decoder(_ index: Int) -> Decoder { self[index].decoder }

        fileprivate func reference(_ index: Int) -> Unmanaged<DecoderHandle> {
            Unmanaged.fromOpaque(UnsafeRawPointer(pointers[index]))
        }
    }

    private static func work(
        _ handles: Handles, _ body: (Handles) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        var begun = 0
        defer {
            for index in 0..<begun {
                handles[index].end()
                handles.reference(index).release()
            }
        }
        for index in 0..<handles.count {
            do throws(LLaDAError) {
                try handles[index].begin()
            } catch {
                if let before = handles.pointers[..<index].firstIndex(of: handles.pointers[index]) {
                    throw LLaDAError(
                        .invalidArgument, "decoders[\(index)] is decoders[\(before)]; expected each once")
                }
                throw error
            }
            _ = handles.reference(index).retain()
            begun += 1
        }
        try body(handles)
    }

    private func begin() throws(LLaDAError) {
        try checkNotLeftBehind()
        guard occupancy.begin() else {
            throw LLaDAError(.busy, "the decoder is at work: on another thread, or in the caller of this callback")
        }
        endViews()
    }

    private func end() { occupancy.end() }

    /// Returns the decoder for a const function, which may run at rest or in a callback. Throws `.busy` otherwise.
    func look() throws(LLaDAError) -> Decoder {
        if occupancy.isBusy, !isCallingBackHere {
            try checkNotLeftBehind()
            throw LLaDAError(.busy, "the decoder is at work on another thread")
        }
        return decoder
    }

    private var isCallingBackHere: Bool { callbackThread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Whether the process was forked while another thread was at work on the decoder. Its state is half changed then.
    private var isLeftBehind: Bool { occupancy.isOrphaned && !isCallingBackHere }

    private func checkNotLeftBehind() throws(LLaDAError) {
        if isLeftBehind {
            throw LLaDAError(
                .state,
                "the decoder was at work on another thread when this process was forked; here it can only be freed")
        }
    }

    /// Ends the handle's reference. What a thread has left behind half changed is not taken apart.
    static func free(_ pointer: OpaquePointer) {
        let handle = Unmanaged<DecoderHandle>.fromOpaque(UnsafeRawPointer(pointer))
        if handle.takeUnretainedValue().isLeftBehind { return }
        handle.release()
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

    /// An array that is lent out. It keeps its memory, with room for as many elements as a step may have.
    private struct View<Element: BitwiseCopyable> {
        private var memory = Scratch<Element>()
        private var elements: UnsafeBufferPointer<Element>?

        mutating func end() { elements = nil }

        /// The address is never NULL, even if there are no elements.
        mutating func show(
            _ count: Int, room: Int, _ element: (Int) -> Element
        ) throws(LLaDAError) -> UnsafeBufferPointer<Element> {
            if let elements { return elements }
            let start = try memory.reserve(max(count, room, 1))
            for index in 0..<count { start[index] = element(index) }
            let shown = UnsafeBufferPointer(start: start, count: count)
            elements = shown
            return shown
        }
    }

    func show(edits all: [Decoder.Edit]) throws(LLaDAError) -> UnsafeBufferPointer<llada_edit> {
        try edits.show(all.count, room: 2 * decoder.mostActive) { llada_edit(all[$0]) }
    }

    func show(events all: [Decoder.Event]) throws(LLaDAError) -> UnsafeBufferPointer<llada_event> {
        try events.show(all.count, room: 2 * decoder.mostActive) { llada_event(all[$0]) }
    }

    private func endViews() {
        edits.end()
        events.end()
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
