import Synchronization

/// A request to stop, from any thread.
public final class Cancellation: Sendable {
    private let requested = Atomic<Bool>(false)

    package init() {}

    /// The work at hand, or else the next, ends with `.cancelled`.
    public func cancel() { requested.store(true, ordering: .relaxed) }

    /// Throws if asked to stop, and forgets the request.
    package func check() throws(LLaDAError) {
        if requested.exchange(false, ordering: .relaxed) { throw LLaDAError(.cancelled, "cancelled by the host") }
    }
}
