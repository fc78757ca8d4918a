import LLaDA

/// A buffer of the caller that is to be filled, with the place for the number of elements.
struct CallerBuffer<Element: BitwiseCopyable> {
    private let start: UnsafeMutablePointer<Element>?
    private let capacity: UInt
    private let count: UnsafeMutablePointer<Int>
    private let name: String

    /// Checks the pointers. A `size_t` arrives as `Int`; a capacity above `Int.max` is a large capacity. Throws
    /// `.invalidArgument` for NULL.
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

    /// Writes all of `values`, or nothing if they do not fit (`.bufferTooSmall`). Reports the count in both cases.
    func fill(_ values: [Element]) throws(LLaDAError) {
        try fill(count: values.count) { _ in start?.update(from: values, count: values.count) }
    }

    /// Lets `body` write `needed` elements into the buffer. Reports the count unless `body` throws. Throws
    /// `.bufferTooSmall`.
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

extension CallerBuffer<CChar> {
    /// Writes all of a text, as UTF-8, or nothing if it does not fit.
    func fill(utf8 text: some Collection<UInt8>) throws(LLaDAError) {
        try fill(count: text.count) { buffer in
            _ = UnsafeMutableRawBufferPointer(buffer).initializeMemory(as: UInt8.self, from: text)
        }
    }
}

/// Returns the caller's array of a pointer and a count; NULL is allowed for an empty one. No array of this interface
/// has more than `Int32.max` elements, and a larger count is refused before the array is touched.
func elements<Element>(
    _ start: UnsafePointer<Element>?, _ count: Int, _ name: String, _ countName: String = "count"
) throws(LLaDAError) -> UnsafeBufferPointer<Element> {
    guard count >= 0, count <= Int(Int32.max) else {
        throw .argument(countName, found: UInt(bitPattern: count), expected: "at most \(Int32.max)")
    }
    if start == nil && count > 0 { throw .null(name) }
    return UnsafeBufferPointer(start: start, count: count)
}

/// Returns a C string, repaired if it is not UTF-8. Throws `.outOfMemory`.
func string(_ text: UnsafePointer<CChar>) throws(LLaDAError) -> String {
    // U+FFFD has three bytes, and may stand for one; the storage doubles.
    try Reserve.withRoom(64 + 8 * bytes(text).count) { () throws(LLaDAError) in
        String(decoding: bytes(text), as: UTF8.self)
    }
}

/// Returns the bytes of a C string, without the NUL.
func bytes(_ string: UnsafePointer<CChar>) -> UnsafeBufferPointer<UInt8> {
    var length = 0
    while string[length] != 0 { length += 1 }
    return UnsafeBufferPointer(start: UnsafeRawPointer(string).assumingMemoryBound(to: UInt8.self), count: length)
}
