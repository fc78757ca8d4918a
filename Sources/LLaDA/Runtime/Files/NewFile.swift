import Glibc

/// A new file that appears whole or not at all. It is written under a temporary name in the same folder, and gets its
/// own name when it is complete and on the disk. This object removes an unpublished file when it goes.
///
/// Paths are C strings, because a file name on Linux need not be UTF-8.
package final class NewFile {
    private let path: [CChar]
    private let partial: [CChar]
    private let descriptor: Int32
    private var isPublished = false

    /// The most temporary files of one name that may exist, including those of programs that were killed.
    private static let most = 100

    package init(_ path: UnsafePointer<CChar>) throws(LLaDAError) {
        self.path = Array(UnsafeBufferPointer(start: path, count: strlen(path) + 1))
        for number in 0..<Self.most {
            let partial = self.path.dropLast() + ".partial\(number)".utf8CString
            // O_EXCL: two processes that save at the same time must not write one file.
            let descriptor = open(Array(partial), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            if descriptor >= 0 {
                (self.partial, self.descriptor) = (Array(partial), descriptor)
                return
            }
            if errno != EEXIST { throw Self.error(path, errno) }
        }
        throw Self.error(path, EEXIST)
    }

    deinit {
        close(descriptor)
        if !isPublished { unlink(partial) }
    }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(LLaDAError) {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor, base + done, bytes.count - done)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw Self.error(path, errno) }
            done += count
        }
    }

    /// Gives the file its own name, in place of any file of that name.
    package func publish() throws(LLaDAError) {
        // A full disk may show only here.
        if fsync(descriptor) != 0 || rename(partial, path) != 0 { throw Self.error(path, errno) }
        isPublished = true
        // Until the folder is on the disk as well, a crash may bring the old file back.
        let slash = path.lastIndex(of: CChar(UInt8(ascii: "/")))
        let folder = slash.map { Array(path[...$0]) + [0] } ?? Array(".".utf8CString)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory < 0 { return }  // a folder may be writable and not readable
        fsync(directory)
        close(directory)
    }

    private static func error(_ path: UnsafePointer<CChar>, _ code: Int32) -> LLaDAError {
        LLaDAError(cannot: "write \(String(cString: path))", errno: code)
    }
}
