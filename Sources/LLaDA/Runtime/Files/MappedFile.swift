import Glibc

/// The bytes of one regular file, mapped or read into memory, for as long as this object lives.
///
/// Nobody may truncate a file while it is mapped: the kernel answers an access beyond the new end with SIGBUS. A host
/// that cannot promise this opens the file with `mapped: false`.
package final class MappedFile: @unchecked Sendable {  // the bytes are never written after init
    package let path: String
    /// The contents. They are valid while this object lives, and Swift may end its life after its last use: write
    /// `withExtendedLifetime(file) { … file.bytes … }` where nothing else holds the file.
    package let bytes: UnsafeRawBufferPointer
    /// The memory of a file that was read; nil if the file is mapped or empty.
    private let memory: HugePages?

    /// Reads are cut into pieces of this size; `progress` may stop them after each piece.
    private static let piece = 32 << 20

    /// Opens `path`. A file of more than `limit` bytes is refused (`.io`). `progress` receives the part read so far,
    /// from 0 to 1; it is called only if the file is read, not mapped.
    package init(
        _ path: String, mapped: Bool = true, limit: Int = .max,
        progress: Progress? = nil
    ) throws(LLaDAError) {
        self.path = path
        let (descriptor, size) = try Self.open(path)
        defer { close(descriptor) }
        if size > limit { throw LLaDAError(.io, "\(path) has \(size) bytes; at most \(limit) are accepted") }
        if size == 0 {
            memory = nil
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
        } else if mapped {
            memory = nil
            bytes = try Self.map(descriptor, size, path)
        } else {
            let read = try Self.read(descriptor, size, path, progress)
            memory = read
            bytes = UnsafeRawBufferPointer(start: read.base, count: size)
        }
    }

    /// Makes one stretch of memory of parts of other files, one after another. `path` is for messages.
    package init(joining parts: [UnsafeRawBufferPointer], path: String) throws(LLaDAError) {
        let size = parts.reduce(0) { $0 + $1.count }  // they are in memory together, so the sum fits
        guard let memory = HugePages(count: size) else {
            throw LLaDAError(.outOfMemory, "no memory for \(size) bytes of \(path)")
        }
        var end = memory.base
        for part in parts {
            if let base = part.baseAddress { end.copyMemory(from: base, byteCount: part.count) }
            end += part.count
        }
        self.path = path
        self.memory = memory
        bytes = UnsafeRawBufferPointer(start: memory.base, count: size)
    }

    package var isMapped: Bool { memory == nil && !bytes.isEmpty }

    /// The system maps the pages around one that is touched, in stretches of this size.
    private static let faultAround = 64 << 10

    /// Releases the pages of a part of a mapping from this process's memory, and those that came with them. A later
    /// access reads them from the file again.
    package func release(_ part: UnsafeRawBufferPointer) {
        guard isMapped, let first = bytes.baseAddress, let base = part.baseAddress else { return }
        let start = max(
            UnsafeMutableRawPointer(mutating: first),
            UnsafeMutableRawPointer(mutating: base).alignedDown(toMultipleOf: Self.faultAround))
        madvise(start, base + part.count - UnsafeRawPointer(start), MADV_DONTNEED)
    }

    deinit {
        if isMapped { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
    }

    /// Whether the folder has an entry of this name. A dangling link counts: an unfinished download must fail when it
    /// is opened, and must not pass for a file that was never there.
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR)
    }

    /// Whether the path is that of a folder, or of a link to one.
    package static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether there is a regular file at `path` that begins with these bytes.
    package static func begins(_ path: String, with bytes: [UInt8]) throws(LLaDAError) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return false }
        let (descriptor, _) = try open(path)
        defer { close(descriptor) }
        var start = [UInt8](repeating: 0, count: bytes.count)
        let count = pread(descriptor, &start, start.count, 0)
        return count == bytes.count && start == bytes
    }

    /// Opens a regular file for reading, and returns its descriptor and its size in bytes. The caller closes the
    /// descriptor.
    static func open(_ path: String) throws(LLaDAError) -> (descriptor: Int32, size: Int) {
        // C would open the file that the part before the NUL names.
        if path.utf8.contains(0) { throw LLaDAError(.io, "a path contains a NUL byte") }
        var descriptor: Int32
        // O_NONBLOCK: opening a named pipe must not wait for a writer. The flag has no effect on regular files.
        repeat {
            descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        } while descriptor < 0 && errno == EINTR
        if descriptor < 0 { throw LLaDAError(cannot: "open \(path)", errno: errno) }

        var status = stat()
        let problem: LLaDAError? =
            if fstat(descriptor, &status) != 0 {
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
        return (descriptor, Int(status.st_size))
    }

    private static func map(_ descriptor: Int32, _ size: Int, _ path: String) throws(LLaDAError)
        -> UnsafeRawBufferPointer
    {
        let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0)
        // MAP_FAILED, whose cast Swift does not import, is the address -1.
        guard let base, base != UnsafeMutableRawPointer(bitPattern: -1) else {
            let code = errno
            throw LLaDAError(code == ENOMEM ? .outOfMemory : .io, cannot: "map \(path)", errno: code)
        }
        return UnsafeRawBufferPointer(start: base, count: size)
    }

    private static func read(
        _ descriptor: Int32, _ size: Int, _ path: String, _ progress: Progress?
    ) throws(LLaDAError) -> HugePages {
        guard let memory = HugePages(count: size) else {
            throw LLaDAError(.outOfMemory, "no memory for the \(size) bytes of \(path)")
        }
        var done = 0
        while done < size {
            let count = Glibc.read(descriptor, memory.base + done, min(piece, size - done))
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw LLaDAError(cannot: "read \(path)", errno: errno) }
            if count == 0 { throw LLaDAError(.io, "\(path) ends early: \(done) of \(size) bytes could be read") }
            done += count
            try progress?(Double(done) / Double(size))
        }
        return memory
    }
}
