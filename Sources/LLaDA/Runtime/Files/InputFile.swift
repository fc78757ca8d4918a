import Glibc
import Kernels

/// One regular file that is open for reading.
///
/// The file stays the same one: another file that takes its name makes no difference. Whoever truncates it makes `read`
/// fail, and whoever writes to it is noticed by `checkUnchanged`.
package final class InputFile: Sendable {
    package let path: String
    /// The bytes of the file when it was opened.
    package let size: Int
    private let descriptor: Int32
    private let stamp: Stamp

    /// What tells whether a file was written to.
    private struct Stamp: Equatable {
        let size: Int
        let seconds: Int
        let nanoseconds: Int

        init(_ status: stat) {
            (size, seconds, nanoseconds) = (Int(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
        }
    }

    /// Opens `path`. Throws `.io` for what cannot be opened, and for what is no regular file.
    package init(_ path: String) throws(LLaDAError) {
        // C would open the file that the part before the NUL names.
        if path.utf8.contains(0) { throw LLaDAError(.io, "a path contains a NUL byte") }
        // O_NONBLOCK: opening a named pipe must not wait for a writer. The flag has no effect on regular files.
        let descriptor = retrying { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        if descriptor < 0 { throw LLaDAError(cannot: "open \(path)", errno: errno) }
        var status = stat()
        let problem: LLaDAError? =
            if retrying({ fstat(descriptor, &status) }) != 0 {
                LLaDAError(cannot: "examine \(path)", errno: errno)
            } else if status.st_mode & S_IFMT == S_IFDIR {
                LLaDAError(.io, "\(path) is a folder; expected a regular file")
            } else if status.st_mode & S_IFMT != S_IFREG {
                LLaDAError(.io, "\(path) is a device, pipe or socket; expected a regular file")
            } else { nil }
        if let problem {
            close(descriptor)
            throw problem
        }
        self.path = path
        self.descriptor = descriptor
        stamp = Stamp(status)
        size = stamp.size
    }

    deinit { close(descriptor) }

    /// Fills `out` with the bytes of the file from `offset` on. Throws `.io` if the file ends before them.
    package func read(_ offset: Int, into out: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        var done = 0
        while done < out.count, let base = out.baseAddress {
            let got = retrying { pread(descriptor, base + done, out.count - done, off_t(offset + done)) }
            if got < 0 { throw LLaDAError(cannot: "read \(path)", errno: errno) }
            if got == 0 {
                throw LLaDAError(.io, "\(path) ends early: \(offset + done) of \(size) bytes could be read")
            }
            done += got
        }
    }

    /// Throws `.io` if somebody has written to the file, or cut it, since it was opened.
    package func checkUnchanged() throws(LLaDAError) {
        let now = try examine()
        if now == stamp { return }
        let what = now.size == size ? "it was written to" : "it has \(now.size) bytes, and had \(size)"
        throw LLaDAError(.io, "\(path) has changed since it was opened: \(what)")
    }

    /// Throws `.io` if somebody has cut the file since it was opened.
    package func checkNotCut() throws(LLaDAError) {
        let now = try examine()
        if now.size < size {
            throw LLaDAError(.io, "\(path) was cut while it is mapped: it has \(now.size) bytes, and had \(size)")
        }
    }

    private func examine() throws(LLaDAError) -> Stamp {
        var status = stat()
        if retrying({ fstat(descriptor, &status) }) != 0 {
            throw LLaDAError(cannot: "examine \(path)", errno: errno)
        }
        return Stamp(status)
    }

    /// Whether the file lies on another machine, or behind a program: no place to map files from (file_system.h).
    package var isRemote: Bool { llk_is_remote(descriptor) }

    /// Maps the whole file. Throws `.outOfMemory`, or `.io` where the file system maps no files.
    package func map() throws(LLaDAError) -> FileMapping {
        let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0)
        // MAP_FAILED, whose cast Swift does not import, is the address -1.
        guard let base, base != UnsafeMutableRawPointer(bitPattern: -1) else {
            let code = errno
            throw LLaDAError(code == ENOMEM ? .outOfMemory : .io, cannot: "map \(path)", errno: code)
        }
        return FileMapping(self, UnsafeRawBufferPointer(start: base, count: size))
    }

    // MARK: Without opening

    /// Whether the folder has an entry of this name. A dangling link counts: an unfinished download must fail when it
    /// is opened, and must not pass for a file that was never there.
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return retrying({ lstat(path, &status) }) == 0 || (errno != ENOENT && errno != ENOTDIR)
    }

    /// Whether the path is that of a folder, or of a link to one.
    package static func isFolder(_ path: String) -> Bool { kind(path) == S_IFDIR }

    /// Whether there is a regular file at `path` that begins with these bytes.
    package static func begins(_ path: String, with bytes: [UInt8]) throws(LLaDAError) -> Bool {
        guard kind(path) == S_IFREG else { return false }
        let file = try InputFile(path)
        if file.size < bytes.count { return false }
        let start = try FilePrefix(file)
        try start.reach(bytes.count)
        return start.bytes.starts(with: bytes)
    }

    private static func kind(_ path: String) -> mode_t? {
        var status = stat()
        return retrying({ stat(path, &status) }) == 0 ? status.st_mode & S_IFMT : nil
    }
}

/// A whole file in the address space of the process, for as long as this object lives. If someone truncates the file
/// meanwhile, the kernel answers an access beyond its new end with SIGBUS: whoever is about to read looks first
/// (`checkNotCut`), which leaves the moments of reading.
package final class FileMapping: @unchecked Sendable {  // the bytes are never written
    package let file: InputFile
    package let bytes: UnsafeRawBufferPointer

    fileprivate init(_ file: InputFile, _ bytes: UnsafeRawBufferPointer) {
        self.file = file
        self.bytes = bytes
    }

    /// Tells the system that a part of the mapped bytes is read here and there. Reading a page of it then brings in no
    /// other pages.
    package func expectRandom(_ part: UnsafeRawBufferPointer) { llk_expect_random(part.baseAddress, part.count) }

    /// Asks the system to read what of a part of the mapped bytes is not in memory, and does not wait for it.
    package func readAhead(_ part: UnsafeRawBufferPointer) { llk_read_ahead(part.baseAddress, part.count) }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
