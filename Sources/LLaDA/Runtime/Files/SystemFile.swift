import Glibc

/// The text of a file of the system, of /proc or /sys. Such files tell no size before they are read.
enum SystemFile {
    /// Returns the lines; empty if the file cannot be read, or has more than 1 MB.
    static func lines(_ path: String) -> [Substring] {
        let descriptor = retrying { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        if descriptor < 0 { return [] }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { bytes in
                retrying { Glibc.read(descriptor, bytes.baseAddress! + count, bytes.count - count) }
            }
            if read < 0 { return [] }
            if read == 0 { return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n") }
            count += read
        }
        return []
    }
}
