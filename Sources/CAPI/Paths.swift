import Glibc
import LLaDA

/// Returns a path of the caller. Throws `.io` for one that no file can have, before memory is taken for it.
func path(_ pointer: UnsafePointer<CChar>?) throws(LLaDAError) -> UnsafePointer<CChar> {
    guard let pointer else { throw .null("path") }
    let limit = 4 * Int(PATH_MAX)
    if strnlen(pointer, limit) == limit { throw LLaDAError(.io, "the path has \(limit) bytes or more") }
    return pointer
}

/// Calls `body` with a path that a `String` can hold, of the file or folder that a C string names: file names on Linux
/// are bytes, and a `String` is always UTF-8. If the name is not UTF-8, the path is that of a descriptor, open for
/// reading. Opening a named pipe does not wait for its writer.
func withFile<Result>(
    _ name: UnsafePointer<CChar>, _ body: (String) throws(LLaDAError) -> Result
) throws(LLaDAError) -> Result {
    let path = String(decoding: bytes(name), as: UTF8.self)
    if path.utf8.elementsEqual(bytes(name)) { return try body(path) }
    let descriptor = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    // The file cannot be opened; the attempt of `body` to open it gives the reason.
    if descriptor < 0 { return try body(path) }
    defer { close(descriptor) }
    return try body("/proc/self/fd/\(descriptor)")
}
