import Glibc

/// The text of a file of the system, of /proc or /sys. Such files tell no size before they are read.
enum SystemFile {
    /// The most bytes of a file.
    private static let limit = 1 << 20

    /// Returns the lines; empty if the file cannot be read, or has more than 1 MB.
    static func lines(_ path: String) -> [Substring] {
        // The text, the places of its lines, and copies of both, in arrays that double.
        guard let bytes = Reserve.note({ () throws(LLaDAError) in try Buffer<UInt8>(count: limit) }),
            let count = read(path, into: bytes),
            let room = Reserve.note({ () throws(LLaDAError) in try Reserve.Room(64 * count) })
        else { return [] }
        defer { room.close() }
        let text = String(
            decoding: UnsafeBufferPointer(start: bytes.pointer, count: count), as: UTF8.self)
        return withExtendedLifetime(bytes) { text.split(separator: "\n") }
    }

    /// Reads a file, and returns its size; nil if it cannot be read, or does not fit.
    private static func read(_ path: String, into bytes: Buffer<UInt8>) -> Int? {
        let descriptor = retrying { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        if descriptor < 0 { return nil }
        defer { close(descriptor) }
        var count = 0
        while count < bytes.count {
            let read = retrying { Glibc.read(descriptor, bytes.pointer + count, bytes.count - count) }
            if read < 0 { return nil }
            if read == 0 { return count }
            count += read
        }
        return nil
    }
}
