/// Memory of the library's own, aligned to a cache line, large ones in huge pages: a prefill touches many megabytes for
/// the first time. Allocation can fail and says so; Swift arrays would trap.
package final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Element>
    package let count: Int
    package var byteCount: Int { count * MemoryLayout<Element>.stride }
    private let memory: HugePages

    /// `count` elements, uninitialised.
    package init(count: Int) throws(LLaDAError) {
        let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        guard !overflow, count >= 0, let memory = HugePages(count: bytes, numa: nil) else {
            throw LLaDAError(.outOfMemory, "no memory for \(count) elements of \(MemoryLayout<Element>.stride) bytes")
        }
        self.memory = memory
        pointer = memory.base.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }
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
