/// Memory for `count` elements, aligned to a cache line. A large buffer lies in huge pages, because a prefill touches
/// many megabytes for the first time. The initializer throws if there is no memory; a Swift array would trap.
package final class Buffer<Element: BitwiseCopyable>: @unchecked Sendable {
    package let pointer: UnsafeMutablePointer<Element>
    package let count: Int
    package var byteCount: Int { count * MemoryLayout<Element>.stride }
    private let memory: HugePages
    private let budget: MemoryBudget?

    /// Allocates `count` uninitialised elements, which count towards `budget`. Throws `.outOfMemory`.
    package init(count: Int, in budget: MemoryBudget? = nil) throws(LLaDAError) {
        let (bytes, overflow) = max(count, 1).multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
        if count > 0, !overflow { try budget?.take(bytes) }
        guard !overflow, count >= 0, let memory = HugePages(count: bytes, numa: nil) else {
            if count > 0, !overflow { budget?.giveBack(bytes) }
            throw LLaDAError(.outOfMemory, "no memory for \(count) elements of \(MemoryLayout<Element>.stride) bytes")
        }
        self.memory = memory
        self.budget = budget
        pointer = memory.base.bindMemory(to: Element.self, capacity: max(count, 1))
        self.count = count
    }

    deinit { budget?.giveBack(byteCount) }
}

/// A buffer that grows on demand. It keeps its memory and forgets its contents.
package struct Scratch<Element: BitwiseCopyable> {
    private var buffer: Buffer<Element>?
    private let budget: MemoryBudget?

    package init(in budget: MemoryBudget? = nil) { self.budget = budget }

    /// Returns room for `count` uninitialised elements. The pointer is valid until the next call.
    package mutating func reserve(_ count: Int) throws(LLaDAError) -> UnsafeMutablePointer<Element> {
        if let buffer, buffer.count >= count { return buffer.pointer }
        buffer = nil  // the old memory goes first, so that both need not fit
        let grown = try Buffer<Element>(count: count, in: budget)
        buffer = grown
        return grown.pointer
    }
}
