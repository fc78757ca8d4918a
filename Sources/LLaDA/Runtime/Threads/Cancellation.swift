import Synchronization

/// A request to stop, from any thread.
public final class Cancellation: Sendable {
    private let requested = Atomic<Bool>(false)

    package init() {}

    /// The work at hand, or else the next, ends with `.cancelled`.
    public func cancel() { requested.store(true, ordering: .relaxed) }

    package var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Throws if one of them is asked to stop, and forgets the requests.
    package static func check(_ all: [Cancellation]) throws(LLaDAError) {
        var isRequested = false
        for one in all where one.requested.exchange(false, ordering: .relaxed) { isRequested = true }
        if isRequested { throw LLaDAError(.cancelled, "cancelled by the host") }
    }

    /// Throws if asked to stop, and forgets the request.
    package func check() throws(LLaDAError) { try Self.check([self]) }
}
