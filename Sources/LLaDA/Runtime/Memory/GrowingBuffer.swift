/// A list that grows, of elements without references. A Swift array would trap where there is no memory.
package struct GrowingBuffer<Element: BitwiseCopyable>: ~Copyable {
    private var buffer: Buffer<Element>?
    package private(set) var count = 0

    package init() {}

    /// The elements. The pointer is valid until the next one is added.
    package var elements: UnsafeMutableBufferPointer<Element> {
        UnsafeMutableBufferPointer(start: buffer?.pointer, count: count)
    }

    /// Adds an element. Throws `.outOfMemory`.
    package mutating func append(_ element: Element) throws(LLaDAError) {
        if count == buffer?.count ?? 0 { try grow() }
        buffer?.pointer[count] = element
        count += 1
    }

    /// Returns the elements in memory of their size; nil if there are none.
    package func finished() throws(LLaDAError) -> Buffer<Element>? {
        guard count > 0, let buffer else { return nil }
        let whole = try Buffer<Element>(count: count)
        whole.pointer.update(from: buffer.pointer, count: count)
        return whole
    }

    private mutating func grow() throws(LLaDAError) {
        let grown = try Buffer<Element>(count: max(64, 2 * count))
        if let old = buffer { grown.pointer.update(from: old.pointer, count: count) }
        buffer = grown
    }
}

extension Buffer {
    /// Allocates `count` elements and makes all of them `value`. Throws `.outOfMemory`.
    package convenience init(count: Int, repeating value: Element) throws(LLaDAError) {
        try self.init(count: count)
        pointer.update(repeating: value, count: count)
    }

    package var elements: UnsafeMutableBufferPointer<Element> {
        UnsafeMutableBufferPointer(start: pointer, count: count)
    }
}
