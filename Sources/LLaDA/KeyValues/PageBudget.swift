import Synchronization

/// The bytes that pages may take, and the bytes that they take. One thread at a time charges the budget
/// (`PrefixCache`); any thread gives bytes back.
package final class PageBudget: Sendable {
    package let limit: Int  // bytes
    private let taken = Atomic<Int>(0)

    package init(limit: Int) { self.limit = limit }

    package var used: Int { taken.load(ordering: .relaxed) }

    package func charge(_ bytes: Int) { taken.add(bytes, ordering: .relaxed) }

    package func giveBack(_ bytes: Int) { taken.subtract(bytes, ordering: .relaxed) }
}
