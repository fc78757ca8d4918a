import Glibc

/// Memory that asks for pages of 2 MB: a forward reads gigabytes of weights, and with pages of 4 KB a fifth to a third of
/// the time goes into finding them.
package final class HugePages: @unchecked Sendable {  // written before it is shared, by those who made it
    package static let pageSize = 2 << 20

    package let base: UnsafeMutableRawPointer
    package let count: Int

    /// `count` bytes, uninitialised, from a multiple of the page size on if they fill one; nil if there is no memory.
    package init?(count: Int) {
        var raw: UnsafeMutableRawPointer?
        guard posix_memalign(&raw, count < Self.pageSize ? 64 : Self.pageSize, max(count, 1)) == 0, let raw else { return nil }
        if count >= Self.pageSize { madvise(raw, count, MADV_HUGEPAGE) }  // a wish: without such pages, small ones do
        base = raw
        self.count = count
    }

    deinit { free(base) }
}
