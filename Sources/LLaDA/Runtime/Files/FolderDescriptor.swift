import Glibc

/// An open folder, in which files are made, named and removed.
final class FolderDescriptor {
    let number: Int32

    /// Opens a folder, of which nothing but the search permission is needed. On failure, returns nil, and `errno` is
    /// set.
    init?(_ path: UnsafePointer<CChar>) {
        number = retrying { open(path, Self.onlyPath | O_DIRECTORY | O_CLOEXEC) }
        if number < 0 { return nil }
    }

    deinit { if number >= 0 { close(number) } }

    /// O_PATH, which Swift does not import.
    private static let onlyPath: Int32 = 0o10000000

    /// Removes a file. Returns whether it is gone, else `errno` is set.
    @discardableResult
    func remove(_ name: [CChar]) -> Bool { retrying { unlinkat(number, name, 0) } == 0 }

    /// Sends the names in the folder to the disk. Until that is done, a crash may bring old files back. Nothing tells
    /// whether it worked: a folder may be writable and not readable, and then it cannot be asked for.
    func sync() {
        let copy = openReadable()
        if copy < 0 { return }
        _ = retrying { fsync(copy) }
        close(copy)
    }

    /// Returns the names in the folder, without "." and ".."; nil if they cannot be read, and `errno` is set.
    func names() -> [[CChar]]? {
        let copy = openReadable()
        guard copy >= 0, let listing = fdopendir(copy) else {
            let code = errno
            if copy >= 0 { close(copy) }
            errno = code
            return nil
        }
        defer { closedir(listing) }  // closes the descriptor, too
        var names: [[CChar]] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1))
                }
            }
            if name != Array(".".utf8CString), name != Array("..".utf8CString) { names.append(name) }
        }
        return names
    }

    private func openReadable() -> Int32 {
        retrying { openat(number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    }
}
