/// The source of a snapshot: memory or a file. A file is never mapped: if someone truncates it during the reading, it
/// ends early, and nothing worse happens.
final class SnapshotSource {
    let name: String  // for messages
    let count: Int
    private let memory: UnsafeRawBufferPointer
    private let file: InputFile?

    /// Makes a source of memory. `bytes` must outlive this object.
    init(_ bytes: UnsafeRawBufferPointer) {
        (name, count, memory, file) = ("the snapshot", bytes.count, bytes, nil)
    }

    init(path: String) throws(LLaDAError) {
        let file = try InputFile(path)
        self.file = file
        (name, count) = (path, file.size)
        memory = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// Fills `out` with the bytes from `offset` on.
    func read(_ offset: Int, into out: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        guard offset >= 0, out.count <= count, offset <= count - out.count else {
            throw LLaDAError(.snapshot, "\(name) ends early: \(count) bytes, and something is said to lie at \(offset)")
        }
        if let file {
            try file.read(offset, into: out)
        } else {
            out.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[offset..<offset + out.count]))
        }
    }
}
