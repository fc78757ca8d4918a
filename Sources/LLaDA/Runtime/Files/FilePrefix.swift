/// The bytes of a file from its beginning on, in memory as far as somebody has asked for them. They do not change when
/// the file does.
package final class FilePrefix: @unchecked Sendable {  // its owner reads before sharing it
    package let file: InputFile
    private var memory: Buffer<UInt8>
    private let budget: MemoryBudget?
    private var count = 0

    /// What is read at once, at least: most headers fit.
    private static let least = 64 << 10

    /// The bytes count towards `budget`.
    package init(_ file: InputFile, budget: MemoryBudget? = nil) throws(LLaDAError) {
        self.file = file
        self.budget = budget
        memory = try Buffer(count: min(file.size, Self.least), in: budget)
    }

    /// Reads all of a small file. A file of more than `limit` bytes is refused (`.io`).
    package convenience init(whole path: String, limit: Int, budget: MemoryBudget? = nil) throws(LLaDAError) {
        let file = try InputFile(path)
        if file.size > limit {
            throw LLaDAError(.io, "\(path) has \(file.size) bytes; at most \(limit) are accepted")
        }
        try self.init(file, budget: budget)
        try reach(file.size)
    }

    /// The bytes that are in memory. They are valid until the next `reach`, and while this object lives, which Swift
    /// may end after its last use: write `withExtendedLifetime(prefix) { … prefix.bytes … }` where nothing else holds
    /// it.
    package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory.pointer, count: count) }

    /// The bytes that are in memory, which keep this object. It must not read on while they are used.
    package var shared: SharedBytes { SharedBytes(bytes, owner: self) }

    /// The bytes of memory.
    package var byteCount: Int { memory.byteCount }

    /// Reads on until the first `end` bytes, or all that the file has, are in memory.
    package func reach(_ end: Int) throws(LLaDAError) {
        let end = min(end, file.size)
        if end <= count { return }
        if end > memory.count {
            // Twice as much each time, so that the work stays in proportion to what is read.
            let grown = try Buffer<UInt8>(count: min(max(end, 2 * memory.count), file.size), in: budget)
            grown.pointer.update(from: memory.pointer, count: count)
            memory = grown
        }
        let target = min(memory.count, max(end, Self.least))
        try file.read(count, into: UnsafeMutableRawBufferPointer(start: memory.pointer + count, count: target - count))
        count = target
    }
}
