import Glibc

/// A new file that appears whole or not at all: it gets its name when it is complete and on the disk. If it replaces a
/// file, it gets that one's mode and, where the process may set it, owner; if the name is a link, it replaces the file
/// behind the link. Devices, pipes, sockets and folders are refused.
///
/// Paths are C strings, because a file name on Linux need not be UTF-8.
package final class NewFile {
    private let path: String  // for messages
    private let folder: FolderDescriptor
    private let name: [CChar]  // in the folder, with its NUL
    private let file: PartialFile

    /// Begins the file `path`. With `unnamed` false, it has a temporary name while it is written.
    package init(_ path: UnsafePointer<CChar>, unnamed: Bool = true) throws(LLaDAError) {
        self.path = String(cString: path)
        let (existing, target) = try Self.resolve(path)
        let slash = target.lastIndex(of: CChar(UInt8(ascii: "/")))
        name = Array(target[(slash.map { $0 + 1 } ?? 0)...])
        let parent = slash.map { Array(target[...$0]) + [0] } ?? Array(".".utf8CString)
        if name == [0] { throw Self.error(self.path, target == [0] ? ENOENT : EISDIR) }
        guard let folder = FolderDescriptor(parent) else { throw Self.error(self.path, errno) }
        // Until the file has the mode of the one that it replaces, nobody else may read it.
        guard let file = PartialFile(in: folder, mode: existing == nil ? 0o666 : 0o600, unnamed: unnamed) else {
            throw Self.error(self.path, errno)
        }
        if let existing, !file.adopt(existing) { throw Self.error(self.path, errno) }
        self.folder = folder
        self.file = file
    }

    /// Returns the file that is to be replaced, if there is one, and the path behind links.
    private static func resolve(_ path: UnsafePointer<CChar>) throws(LLaDAError) -> (existing: stat?, path: [CChar]) {
        let given = Array(UnsafeBufferPointer(start: path, count: strlen(path) + 1))
        var status = stat()
        if retrying({ lstat(path, &status) }) != 0 { return (nil, given) }
        let isLink = status.st_mode & S_IFMT == S_IFLNK
        func unfollowed() -> LLaDAError {
            LLaDAError(cannot: "follow the link \(String(cString: path))", errno: errno)
        }
        if isLink, retrying({ stat(path, &status) }) != 0 { throw unfollowed() }
        switch status.st_mode & S_IFMT {
        case S_IFREG: break
        case S_IFDIR: throw error(String(cString: path), EISDIR)
        default:
            throw LLaDAError(
                .io, "\(String(cString: path)) is a device, pipe or socket; expected a regular file, or none")
        }
        if !isLink { return (status, given) }
        guard let real = realpath(path, nil) else { throw unfollowed() }
        defer { free(real) }
        return (status, Array(UnsafeBufferPointer(start: real, count: strlen(real) + 1)))
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(LLaDAError) {
        try file.write(bytes) { Self.error(path, $0) }
    }

    /// Gives the file its name, in place of any file of that name.
    package func publish() throws(LLaDAError) {
        if !file.sync() || !file.replace(name) { throw Self.error(path, errno) }
        folder.sync()
    }

    private static func error(_ path: String, _ code: Int32) -> LLaDAError {
        LLaDAError(cannot: "write \(path)", errno: code)
    }
}
