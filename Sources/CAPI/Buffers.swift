import LLaDA

/// A buffer that the caller wants filled, with the place for the count that it takes.
struct CallerBuffer<Element: BitwiseCopyable> {
    private let start: UnsafeMutablePointer<Element>?
    private let capacity: UInt
    private let count: UnsafeMutablePointer<Int>
    private let name: String

    /// A `size_t` arrives as `Int`; one above `Int.max` is simply much room.
    init(
        _ start: UnsafeMutablePointer<Element>?, capacity: Int, count: UnsafeMutablePointer<Int>?, _ name: String
    ) throws(LLaDAError) {
        guard let count else { throw .null("count") }
        if start == nil && capacity != 0 { throw .null(name) }
        self.start = start
        self.capacity = UInt(bitPattern: capacity)
        self.count = count
        self.name = name
    }

    /// Reports the count in any case, and writes all or nothing.
    func fill(_ values: [Element]) throws(LLaDAError) {
        try fill(count: values.count) { _ in start?.update(from: values, count: values.count) }
    }

    /// Has `body` write `needed` elements into the buffer. The count is reported, unless it is `body` that fails.
    func fill(
        count needed: Int, _ body: (UnsafeMutableBufferPointer<Element>) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        if needed > capacity {
            count.pointee = needed
            throw LLaDAError(.bufferTooSmall, "\(name) has room for \(capacity); \(needed) are needed")
        }
        try body(UnsafeMutableBufferPointer(start: start, count: start == nil ? 0 : needed))
        count.pointee = needed
    }
}

/// What the caller passes as pointer and count; NULL will do for nothing. No array in this interface has more than
/// `Int32.max` elements: what claims to is refused before it is touched.
func elements<Element>(
    _ start: UnsafePointer<Element>?, _ count: Int, _ name: String, _ countName: String = "count"
) throws(LLaDAError) -> UnsafeBufferPointer<Element> {
    guard count >= 0, count <= Int(Int32.max) else {
        throw .argument(countName, found: UInt(bitPattern: count), expected: "at most \(Int32.max)")
    }
    if start == nil && count > 0 { throw .null(name) }
    return UnsafeBufferPointer(start: start, count: count)
}

/// The bytes of a C string, without the NUL.
func bytes(_ string: UnsafePointer<CChar>) -> UnsafeBufferPointer<UInt8> {
    var length = 0
    while string[length] != 0 { length += 1 }
    return UnsafeBufferPointer(start: UnsafeRawPointer(string).assumingMemoryBound(to: UInt8.self), count: length)
}
