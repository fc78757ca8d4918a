import Glibc

/// The names in a folder.
package enum FolderListing {
    /// Returns the names, sorted; nil if `path` is no folder, or one that may not be listed. Throws `.io` if the system
    /// fails.
    package static func names(_ path: String) throws(LLaDAError) -> [String]? {
        if path.utf8.contains(0) { throw LLaDAError(.io, "a path contains a NUL byte") }
        var opened: OpaquePointer?
        repeat { opened = opendir(path) } while opened == nil && errno == EINTR
        guard let listing = opened else {
            // Files in a folder that cannot be listed may still be opened by their names.
            if [ENOTDIR, ENOENT, EACCES].contains(errno) { return nil }
            throw LLaDAError(cannot: "list the folder \(path)", errno: errno)
        }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names.sorted()
    }
}
