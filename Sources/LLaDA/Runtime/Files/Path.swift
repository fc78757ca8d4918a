/// Calls `body` with the path as a C string. A path with a NUL byte is refused (`.io`), because C would use only the
/// part before it.
func withPath<Result>(
    _ path: String, _ body: (UnsafePointer<CChar>) throws(LLaDAError) -> Result
) throws(LLaDAError) -> Result {
    if path.utf8.contains(0) { throw LLaDAError(.io, "a path contains a NUL byte") }
    // Typed throws do not pass through withCString.
    return try ContiguousArray(path.utf8CString).withUnsafeBufferPointer { (path) throws(LLaDAError) in
        guard let path = path.baseAddress else { throw LLaDAError(.io, "a path has no bytes") }
        return try body(path)
    }
}
