import Glibc

/// Memory for packed weights, in stretches that begin at multiples of 2 MB and ask for pages of that size: a forward reads
/// gigabytes, and with pages of 4 KB a fifth to a third of the time goes into finding them.
package final class Arena {
    private static let huge = 2 << 20
    /// Enough that little is lost between stretches.
    private static let usual = 64 << 20

    private var stretch: Stretch?
    private var used = 0

    package init() {}

    /// `count` bytes, aligned to a cache line, and what keeps them.
    package func take(_ count: Int) throws(LLaDAError) -> (base: UnsafeMutableRawPointer, owner: AnyObject) {
        let needed = (count + 63) / 64 * 64
        if let stretch, stretch.count - used >= needed {
            defer { used += needed }
            return (stretch.base + used, stretch)
        }
        let fresh = try Stretch(count: (max(needed, Self.usual) + Self.huge - 1) / Self.huge * Self.huge, alignment: Self.huge)
        stretch = fresh
        used = needed
        return (fresh.base, fresh)
    }

    private final class Stretch: @unchecked Sendable {
        let base: UnsafeMutableRawPointer
        let count: Int

        init(count: Int, alignment: Int) throws(LLaDAError) {
            var raw: UnsafeMutableRawPointer?
            guard posix_memalign(&raw, alignment, count) == 0, let raw else {
                throw LLaDAError(.outOfMemory, "no memory for \(count) bytes of weights")
            }
            madvise(raw, count, MADV_HUGEPAGE)  // a wish: without such pages, small ones do
            base = raw
            self.count = count
        }

        deinit { free(base) }
    }
}
