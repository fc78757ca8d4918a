import Synchronization

/// What pages may take, and do. It is charged by one at a time (`PrefixCache`), and given back to by anyone.
package final class PageBudget: Sendable {
    package let limit: Int  // bytes
    private let taken = Atomic<Int>(0)

    package init(limit: Int) { self.limit = limit }

    package var used: Int { taken.load(ordering: .relaxed) }

    package func charge(_ bytes: Int) { taken.add(bytes, ordering: .relaxed) }

    func giveBack(_ bytes: Int) { taken.subtract(bytes, ordering: .relaxed) }
}
