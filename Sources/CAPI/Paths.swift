import Glibc
import LLaDA

/// Hands `body` the folder that a C string names, as a path that a Swift `String` can hold.
func withFolder<Result>(
    _ name: UnsafePointer<CChar>, _ body: (String) throws(LLaDAError) -> Result
) throws(LLaDAError) -> Result {
    try withOpen(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, body)
}

/// The same for a file that is to be read. Opening a named pipe must not wait for its writer.
func withFile<Result>(
    _ name: UnsafePointer<CChar>, _ body: (String) throws(LLaDAError) -> Result
) throws(LLaDAError) -> Result {
    try withOpen(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC, body)
}

/// File names on Linux are bytes, and a `String` is always UTF-8. Where the name is not, what it names goes by the name
/// of a descriptor.
private func withOpen<Result>(
    _ name: UnsafePointer<CChar>, _ flags: Int32, _ body: (String) throws(LLaDAError) -> Result
) throws(LLaDAError) -> Result {
    let path = String(decoding: bytes(name), as: UTF8.self)
    if path.utf8.elementsEqual(bytes(name)) { return try body(path) }
    let descriptor = open(name, flags)
    // It cannot be opened; trying to will say why.
    if descriptor < 0 { return try body(path) }
    defer { close(descriptor) }
    return try body("/proc/self/fd/\(descriptor)")
}
