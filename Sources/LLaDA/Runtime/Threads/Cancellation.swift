import Synchronization

/// A request to stop that any thread may make.
public final class Cancellation: Sendable {
    private let requested = Atomic<Bool>(false)

    package init() {}

    /// Ends the running call, or else the next one, with `.cancelled`.
    public func cancel() { requested.store(true, ordering: .relaxed) }

    package var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Throws `.cancelled` if one of the requests was made, and clears all of them.
    package static func check(_ all: [Cancellation]) throws(LLaDAError) {
        var isRequested = false
        for one in all where one.requested.exchange(false, ordering: .relaxed) { isRequested = true }
        if isRequested { throw LLaDAError(.cancelled, "cancelled by the host") }
    }

    /// Throws `.cancelled` if the request was made, and clears it.
    package func check() throws(LLaDAError) { try Self.check([self]) }
}
