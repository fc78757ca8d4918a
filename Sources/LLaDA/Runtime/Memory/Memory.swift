/// Memory that is taken by other means than `Buffer`.
package enum Memory {
    /// Asks the system for as many bytes, and gives them back: an array that is made right after it will have them.
    /// Throws `.outOfMemory`; the array would end the process.
    package static func ask(for bytes: Int) throws(LLaDAError) { _ = try Buffer<UInt8>(count: bytes) }
}
