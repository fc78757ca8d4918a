import Glibc

/// A file that is being written and gets its name when it is complete.
///
/// Where the file system can, the file has no name until then (O_TMPFILE), and the system frees it when the process
/// dies. Elsewhere it has a temporary name, and so has, for a moment, every file that replaces another. Its writer
/// holds a lock on it. So a later writer can tell what a killed process has left behind, and removes it.
///
/// Temporary names are short, whatever the name of the file: a name may have 255 bytes.
final class PartialFile {
    static let prefix = ".llada-partial-"
    /// The most temporary files that a folder may have at a time.
    private static let most = 1000
    /// Writes are cut into pieces of this size; `progress` may stop them after each piece.
    private static let piece = 32 << 20

    private let folder: FolderDescriptor
    private let descriptor: Int32
    private var temporaryName: String?

    /// Makes a file in the folder. `mode` is as for `open`. With `unnamed` false, the file has a temporary name from
    /// the beginning. On failure, returns nil, and `errno` is set.
    init?(in folder: FolderDescriptor, mode: mode_t, unnamed: Bool = true) {
        self.folder = folder
        // A file without a name gets one through /proc.
        if unnamed, access("/proc/self/fd", X_OK) == 0 {
            let descriptor = retrying { openat(folder.number, ".", Self.temporaryFile | O_WRONLY | O_CLOEXEC, mode) }
            if descriptor >= 0 {
                _ = Self.lock(descriptor)
                self.descriptor = descriptor
                return
            }
        }
        for number in 0..<Self.most {
            let name = Self.prefix + "\(number)"
            guard Self.reclaim(name, in: folder) else { continue }
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
            let descriptor = retrying { openat(folder.number, name, flags, mode) }
            if descriptor >= 0, Self.lock(descriptor), Self.isNamed(descriptor) {
                self.descriptor = descriptor
                temporaryName = name
                return
            }
            let code = errno
            if descriptor >= 0 { close(descriptor) }  // another writer has reclaimed it before it was locked
            if descriptor < 0 && code != EEXIST {
                errno = code
                return nil
            }
        }
        errno = EEXIST
        return nil
    }

    deinit {
        if let temporaryName { folder.remove(Array(temporaryName.utf8CString)) }
        close(descriptor)
    }

    /// O_TMPFILE, which Swift does not import.
    private static let temporaryFile: Int32 = 0o20000000 | O_DIRECTORY

    // MARK: Locks

    /// Locks the file, and returns true also where the file system has no locks: then nothing is ever reclaimed.
    private static func lock(_ descriptor: Int32) -> Bool {
        retrying { flock(descriptor, LOCK_EX | LOCK_NB) } == 0 || errno != EWOULDBLOCK
    }

    private static func isNamed(_ descriptor: Int32) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_nlink > 0
    }

    /// Removes the temporary file of this name if its writer is dead. Returns whether the name is free.
    static func reclaim(_ name: String, in folder: FolderDescriptor) -> Bool {
        reclaim(Array(name.utf8CString), in: folder) { _ in }
    }

    /// The same, after `look` was given the descriptor of a dead writer's file, locked and open for reading.
    static func reclaim(_ name: [CChar], in folder: FolderDescriptor, _ look: (Int32) -> Void) -> Bool {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let descriptor = retrying { openat(folder.number, name, flags) }
        if descriptor < 0 { return errno == ENOENT }
        defer { close(descriptor) }
        guard retrying({ flock(descriptor, LOCK_EX | LOCK_NB) }) == 0, isNamed(descriptor) else { return false }
        look(descriptor)
        return folder.remove(name)
    }

    // MARK: Writing

    /// Sets owner and mode to those of a file that this one is to replace. An owner that the process may not set stays.
    /// Returns whether the mode is set, else `errno` is.
    func adopt(_ status: stat) -> Bool {
        _ = retrying { fchown(descriptor, status.st_uid, status.st_gid) }
        return retrying { fchmod(descriptor, status.st_mode & 0o7777) } == 0
    }

    /// Appends bytes. `progress` receives the number of bytes written since its last call. `failed` makes an error of a
    /// code.
    func write(
        _ bytes: UnsafeRawBufferPointer, failed: (Int32) -> LLaDAError,
        progress: (Int) throws(LLaDAError) -> Void = { (_) throws(LLaDAError) in }
    ) throws(LLaDAError) {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = retrying { Glibc.write(descriptor, base + done, min(Self.piece, bytes.count - done)) }
            if count <= 0 { throw failed(count < 0 ? errno : EIO) }
            done += count
            // The system would keep gigabytes for the last `fsync`, which nothing can stop.
            if count == Self.piece, retrying({ fdatasync(descriptor) }) != 0 { throw failed(errno) }
            try progress(count)
        }
    }

    /// Waits until the file is on the disk; false if it cannot be, and `errno` is set. A full disk may show only here.
    func sync() -> Bool { retrying { fsync(descriptor) } == 0 }

    // MARK: Names

    /// Gives the file its name, in place of any file of that name. Returns whether it has it, else `errno` is set.
    func replace(_ name: [CChar]) -> Bool {
        if temporaryName == nil, !takeTemporaryName() { return false }
        return rename(name)
    }

    /// Gives the file its name if nothing has it. Returns whether it has it, else `errno` is set.
    func take(_ name: [CChar]) -> Bool {
        if temporaryName == nil { return link(name) }
        var status = stat()
        if fstatat(folder.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 {
            errno = EEXIST
            return false
        }
        return rename(name)
    }

    private func rename(_ name: [CChar]) -> Bool {
        guard let from = temporaryName,
            retrying({ renameat(folder.number, from, folder.number, name) }) == 0
        else { return false }
        temporaryName = nil
        return true
    }

    private func link(_ name: [CChar]) -> Bool {
        retrying { linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", folder.number, name, AT_SYMLINK_FOLLOW) } == 0
    }

    private func takeTemporaryName() -> Bool {
        for number in 0..<Self.most {
            let name = Self.prefix + "\(number)"
            guard Self.reclaim(name, in: folder) else { continue }
            if link(Array(name.utf8CString)) {
                temporaryName = name
                return true
            }
            if errno != EEXIST { return false }
        }
        errno = EEXIST
        return false
    }
}
