import Glibc

/// Memory that asks for pages of 2 MB: a forward reads gigabytes of weights, and with pages of 4 KB a fifth to a third
/// of the time goes into finding them. On a machine of several nodes they lie on all in turn.
///
/// It is mapped, not allocated: what it asks of the system must not stay with addresses that malloc hands out again.
package final class HugePages: @unchecked Sendable {  // written before it is shared, by those who made it
    package static let pageSize = 2 << 20

    package let base: UnsafeMutableRawPointer
    package let count: Int
    /// Nil if it is less than a page, and allocated.
    private let mapping: UnsafeMutableRawBufferPointer?

    /// `count` bytes, uninitialised, from a multiple of the page size on if they fill one, else of 64; nil if there is
    /// no memory.
    package init?(count: Int, numa: NUMA? = .shared) {
        self.count = count
        if count < Self.pageSize {
            var raw: UnsafeMutableRawPointer?
            guard posix_memalign(&raw, 64, max(count, 1)) == 0, let raw else { return nil }
            base = raw
            mapping = nil
            return
        }
        let (length, overflow) = count.addingReportingOverflow(Self.pageSize)
        // MAP_FAILED, whose cast Swift does not import, is the address -1.
        guard !overflow, let start = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            start != UnsafeMutableRawPointer(bitPattern: -1)
        else { return nil }
        mapping = UnsafeMutableRawBufferPointer(start: start, count: length)
        base = start.alignedUp(toMultipleOf: Self.pageSize)
        madvise(base, count, MADV_HUGEPAGE)  // a wish: without such pages, small ones do
        numa?.interleave(base, count: count)
    }

    deinit {
        if let mapping { munmap(mapping.baseAddress, mapping.count) } else { free(base) }
    }
}
