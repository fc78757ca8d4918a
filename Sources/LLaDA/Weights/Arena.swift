/// Memory for packed weights, in long stretches of huge pages.
package final class Arena {
    /// The usual bytes of a stretch: enough that little is lost between stretches.
    private static let usual = 64 << 20

    private let team: ThreadTeam
    private let budget: MemoryBudget?
    private var plan: Plan
    private var stretch: Stretch?

    /// The sizes of stretches.
    package struct Plan {
        /// The bytes that are still to come; `Int.max` if that is unknown.
        private var left: Int
        /// The bytes of the stretch, and those that are used.
        private var size = 0
        fileprivate private(set) var used = 0
        /// The bytes of all stretches so far.
        package private(set) var total = 0

        /// Takes the bytes of all that will be taken, each rounded up.
        package init(expected: Int = .max) { left = expected }

        /// The bytes that are taken for some: whole cache lines.
        package static func rounded(_ count: Int) -> Int { (count + 63) / 64 * 64 }

        /// Takes the next bytes. Returns the size of a stretch for them, if it is a new one.
        package mutating func take(_ count: Int) -> Int? {
            let needed = Self.rounded(count)
            defer { if left < .max { left -= needed } }
            if size - used >= needed {
                used += needed
                return nil
            }
            let page = HugePages.pageSize
            // The last stretch is no longer than what is left.
            let usual = max(needed, min(Arena.usual, left))
            size = usual < page ? usual : (usual + page - 1) / page * page
            used = needed
            total += size
            return size
        }
    }

    private final class Stretch {
        let memory: HugePages
        private let reservation: Reservation?

        init(_ size: Int, in budget: MemoryBudget?) throws(LLaDAError) {
            if let budget { reservation = try Reservation(size, in: budget) } else { reservation = nil }
            guard let memory = HugePages(count: size) else {
                throw LLaDAError(.outOfMemory, "no memory for \(size) bytes of weights")
            }
            self.memory = memory
        }
    }

    /// Makes an arena whose memory counts towards `budget`.
    package init(team: ThreadTeam, _ plan: Plan = Plan(), in budget: MemoryBudget? = nil) {
        self.team = team
        self.plan = plan
        self.budget = budget
    }

    /// Returns `count` bytes, aligned to a cache line, and the object that keeps them.
    package func take(_ count: Int) throws(LLaDAError) -> (base: UnsafeMutableRawPointer, owner: AnyObject) {
        if let size = plan.take(count) {
            let fresh = try Stretch(size, in: budget)
            // All threads touch the pages: the system clears a page at its first touch, which is as much work as
            // filling it.
            let page = HugePages.pageSize
            team.forEach((size + page - 1) / page) { index, _ in
                (fresh.memory.base + index * page).storeBytes(of: 0, as: UInt8.self)
            }
            stretch = fresh
        }
        guard let stretch else { throw LLaDAError(.outOfMemory, "no memory for \(count) bytes of weights") }
        return (stretch.memory.base + plan.used - Plan.rounded(count), stretch)
    }
}
