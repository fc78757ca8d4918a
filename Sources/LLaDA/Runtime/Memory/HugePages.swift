import Glibc

/// Memory in pages of 2 MB, if the system has them. A forward reads gigabytes of weights, and with pages of 4 KB a
/// fifth to a third of the time goes into address translation. On a machine of several memory nodes the pages lie on
/// all nodes in turn.
///
/// The memory is mapped, not allocated: its settings must not stay with addresses that malloc hands out again.
package final class HugePages: @unchecked Sendable {  // its owner writes before it shares it
    package static let pageSize = 2 << 20

    package let base: UnsafeMutableRawPointer
    package let count: Int
    /// The mapping; nil if the memory is smaller than a page and comes from malloc.
    private let mapping: UnsafeMutableRawBufferPointer?

    /// Allocates `count` uninitialised bytes; nil if there is no memory. The address is a multiple of the page size if
    /// the bytes fill one page, else of 64.
    package init?(count: Int, numa: NUMA? = .shared) {
        self.count = count
        if count < Self.pageSize {
            // A multiple of the alignment, as C11 demands. Unlike malloc, it may fail (reserve.h).
            guard let raw = aligned_alloc(64, (max(count, 1) + 63) / 64 * 64) else { return nil }
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
        madvise(base, count, MADV_HUGEPAGE)  // a hint: without huge pages, small ones serve
        numa?.interleave(base, count: count)
    }

    deinit {
        if let mapping { munmap(mapping.baseAddress, mapping.count) } else { free(base) }
    }
}
