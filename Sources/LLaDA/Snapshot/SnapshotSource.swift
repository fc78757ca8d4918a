import Glibc

/// The source of a snapshot: memory or a file. A file is never mapped: if someone truncates it during the reading, it
/// ends early, and nothing worse happens.
final class SnapshotSource {
    let name: String  // for messages
    let count: Int
    private let memory: UnsafeRawBufferPointer
    private let descriptor: Int32

    /// Makes a source of memory. `bytes` must outlive this object.
    init(_ bytes: UnsafeRawBufferPointer) {
        (name, count, memory, descriptor) = ("the snapshot", bytes.count, bytes, -1)
    }

    init(path: String) throws(LLaDAError) {
        (descriptor, count) = try MappedFile.open(path)
        name = path
        memory = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Fills `out` with the bytes from `offset` on.
    func read(_ offset: Int, into out: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        guard offset >= 0, out.count <= count, offset <= count - out.count else {
            throw LLaDAError(.snapshot, "\(name) ends early: \(count) bytes, and something is said to lie at \(offset)")
        }
        if descriptor < 0 {
            out.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[offset..<offset + out.count]))
            return
        }
        var done = 0
        while done < out.count, let base = out.baseAddress {
            let got = pread(descriptor, base + done, out.count - done, off_t(offset + done))
            if got < 0 && errno == EINTR { continue }
            if got < 0 { throw LLaDAError(cannot: "read \(name)", errno: errno) }
            if got == 0 {
                throw LLaDAError(.io, "\(name) ends early: \(offset + done) of \(count) bytes could be read")
            }
            done += got
        }
    }
}
