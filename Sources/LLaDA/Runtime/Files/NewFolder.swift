import Glibc

/// A new folder whose files appear together or not at all. Each file is written under a temporary name, and gets its
/// own name when all files are complete and on the disk. This object removes unpublished files when it goes.
///
/// Paths are C strings, because a file name on Linux need not be UTF-8.
package final class NewFolder {
    private let path: String  // for messages
    private let descriptor: Int32
    /// The path of the folder if this object made it, else nil.
    private var made: [CChar]?
    private var begun: [String] = []

    private static let suffix = ".partial"
    /// Writes are cut into pieces of this size; `progress` may stop them after each piece.
    private static let piece = 32 << 20

    /// Makes the folder `name`, or takes it if it is there and empty. Throws `.io` if the folder holds anything.
    package init(_ name: UnsafePointer<CChar>) throws(LLaDAError) {
        let path = String(cString: name)
        let isNew = mkdir(name, 0o777) == 0
        if !isNew && errno != EEXIST { throw LLaDAError(cannot: "make the folder \(path)", errno: errno) }
        let descriptor = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0 {
            let code = errno
            if isNew { rmdir(name) }
            throw LLaDAError(cannot: "open the folder \(path)", errno: code)
        }
        self.path = path
        self.descriptor = descriptor
        made = isNew ? Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1)) : nil
        // From here on `deinit` cleans up: after an error nothing is left that was not there before.
        if !isNew, try !isEmpty() {
            throw LLaDAError(.io, "\(path) is not empty; expected a folder that is, or none")
        }
    }

    deinit {
        for name in begun { unlinkat(descriptor, name + Self.suffix, 0) }
        close(descriptor)
        if let made { rmdir(made) }
    }

    private func isEmpty() throws(LLaDAError) -> Bool {
        // closedir also closes the descriptor it reads from, so it gets one of its own.
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let listing = fdopendir(copy) else {
            let code = errno
            if copy >= 0 { close(copy) }
            throw LLaDAError(cannot: "list the folder \(path)", errno: code)
        }
        defer { closedir(listing) }
        var count = 0
        while count <= 2, readdir(listing) != nil { count += 1 }  // "." and ".." are always there
        return count <= 2
    }

    /// Writes one file of `pieces`. `progress` receives the number of bytes written since its last call.
    package func write(
        _ name: String, _ pieces: some Sequence<UnsafeRawBufferPointer>, progress: (Int) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        // O_EXCL: two processes that save to one folder must not write one file.
        let file = openat(descriptor, name + Self.suffix, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        if file < 0 { throw error(name, errno) }
        begun.append(name)
        do throws(LLaDAError) {
            for bytes in pieces { try write(bytes, to: file, name, progress) }
            // A full disk may show only here.
            if fsync(file) != 0 { throw error(name, errno) }
        } catch {
            close(file)
            throw error
        }
        if close(file) != 0 && errno != EINTR { throw error(name, errno) }
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, to file: Int32, _ name: String, _ progress: (Int) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(file, base + done, min(Self.piece, bytes.count - done))
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw error(name, errno) }
            done += count
            // The system would keep gigabytes for the last `fsync`, which nothing can stop. Errors show there as well.
            if count == Self.piece { fdatasync(file) }
            try progress(count)
        }
    }

    /// Gives all files their own names, in the order in which they were written.
    package func publish() throws(LLaDAError) {
        for (index, name) in begun.enumerated() where renameat(descriptor, name + Self.suffix, descriptor, name) != 0 {
            let code = errno
            for name in begun[..<index] { unlinkat(descriptor, name, 0) }
            throw error(name, code)
        }
        begun = []
        made = nil
        fsync(descriptor)  // the result does not matter: the files are on the disk already
    }

    private func error(_ name: String, _ code: Int32) -> LLaDAError {
        LLaDAError(cannot: "write \(path)/\(name)", errno: code)
    }
}
