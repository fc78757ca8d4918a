import Glibc

/// What a folder holds.
package enum FolderListing {
    /// Returns the names of a folder's entries, sorted by bytes, without "." and "..". Throws `.io`.
    package static func names(in path: String) throws(LLaDAError) -> [String] {
        guard let listing = opendir(path) else { throw LLaDAError(cannot: "list \(path)", errno: errno) }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The kind of an entry of the file system.
    package enum Kind {
        case folder
        case file(bytes: Int)
        case other
    }

    /// Returns what is at a path, links followed; nil if there is nothing.
    package static func kind(_ path: String) -> Kind? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: return .folder
        case S_IFREG: return .file(bytes: Int(status.st_size))
        default: return .other
        }
    }
}
