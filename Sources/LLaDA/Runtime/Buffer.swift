import Glibc

/// Memory of the library's own, aligned to a cache line. Allocation can fail and says so; Swift arrays would trap.
package final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Element>
    package let count: Int

    /// `count` elements, uninitialised.
    package init(count: Int) throws(LLaDAError) {
        let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        var raw: UnsafeMutableRawPointer?
        guard !overflow, count >= 0, posix_memalign(&raw, 64, bytes) == 0, let raw else {
            throw LLaDAError(.outOfMemory, "no memory for \(count) elements of \(MemoryLayout<Element>.stride) bytes")
        }
        self.pointer = raw.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    deinit { free(pointer) }
}

/// A buffer that grows when more is asked of it and forgets what it held.
package struct Scratch<Element: BitwiseCopyable> {
    private var buffer: Buffer<Element>?

    package init() {}

    /// Room for `count` elements, uninitialised; valid until the next call.
    package mutating func reserve(_ count: Int) throws(LLaDAError) -> UnsafeMutablePointer<Element> {
        if let buffer, buffer.count >= count { return buffer.pointer }
        buffer = nil  // give back before taking more
        let grown = try Buffer<Element>(count: count)
        buffer = grown
        return grown.pointer
    }
}
