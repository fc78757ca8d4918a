/// Memory for packed weights, in long stretches of huge pages.
package final class Arena {
    /// The usual bytes of a stretch: enough that little is lost between stretches, and no more than a small model
    /// needs.
    private let usual: Int

    private let team: ThreadTeam
    private var stretch: HugePages?
    private var used = 0

    /// `total` is about what will be taken.
    package init(team: ThreadTeam, total: Int = .max) {
        self.team = team
        usual = min(64 << 20, total)
    }

    /// Returns `count` bytes, aligned to a cache line, and the object that keeps them.
    package func take(_ count: Int) throws(LLaDAError) -> (base: UnsafeMutableRawPointer, owner: AnyObject) {
        let needed = (count + 63) / 64 * 64
        if let stretch, stretch.count - used >= needed {
            defer { used += needed }
            return (stretch.base + used, stretch)
        }
        let page = HugePages.pageSize
        let size = (max(needed, usual) + page - 1) / page * page
        guard let fresh = HugePages(count: size) else {
            throw LLaDAError(.outOfMemory, "no memory for \(size) bytes of weights")
        }
        // All threads touch the pages: the system clears a page at its first touch, which is as much work as filling
        // it.
        team.forEach(size / page) { index, _ in (fresh.base + index * page).storeBytes(of: 0, as: UInt8.self) }
        stretch = fresh
        used = needed
        return (fresh.base, fresh)
    }
}
