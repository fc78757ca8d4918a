/// A reader of the body of a snapshot whose header and checksum are right. All contents are checked as they are read:
/// whoever can compute a checksum can write anything.
struct SnapshotReader {
    private let source: SnapshotSource
    private let body: UnsafeRawBufferPointer
    private let owner: Buffer<UInt8>
    private var offset = 0
    /// The place of the pages in the source.
    let pages: Range<Int>

    /// `progress` receives the part of the checksum that is done.
    init(
        _ source: SnapshotSource, _ kind: SnapshotFormat.Kind, of fingerprint: ModelFingerprint, progress: Progress
    ) throws(LLaDAError) {
        let header = try Header(source)
        try header.check(source)
        try Self.checkSum(source, progress)
        guard header.kind == kind.rawValue else {
            let found = SnapshotFormat.Kind(rawValue: header.kind)?.name ?? "kind \(header.kind)"
            throw LLaDAError(.snapshot, "\(source.name) is a snapshot of \(found); expected \(kind.name)")
        }
        guard header.fingerprint == fingerprint else {
            throw LLaDAError(
                .snapshot,
                """
                \(source.name) was saved with another model, or with one held or computed otherwise (dtype, \
                expert_capacity, blas)
                """
            )
        }
        let start = SnapshotFormat.headerSize
        owner = try Buffer(count: header.bodySize)
        let bytes = UnsafeMutableRawBufferPointer(start: owner.pointer, count: header.bodySize)
        try source.read(start, into: bytes)
        body = UnsafeRawBufferPointer(bytes)
        self.source = source
        pages = start + header.bodySize..<source.count - SnapshotFormat.checksumSize
    }

    private struct Header {
        let kind: UInt32
        let fingerprint: ModelFingerprint
        let size: UInt64
        let bodySize: Int

        init(_ source: SnapshotSource) throws(LLaDAError) {
            let size = SnapshotFormat.headerSize
            let buffer = try Buffer<UInt8>(count: size)
            buffer.pointer.initialize(repeating: 0, count: size)
            try source.read(
                0, into: UnsafeMutableRawBufferPointer(start: buffer.pointer, count: min(size, source.count)))
            let bytes = UnsafeRawPointer(buffer.pointer)
            func number<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ type: Value.Type) -> Value {
                Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
            }
            guard number(0, UInt64.self) == SnapshotFormat.magic else {
                throw LLaDAError(.snapshot, "\(source.name) is no snapshot of llada's")
            }
            let version = number(8, UInt32.self)
            guard version == SnapshotFormat.version else {
                throw LLaDAError(
                    .snapshot,
                    """
                    \(source.name) is a snapshot of version \(version); this library reads version \
                    \(SnapshotFormat.version)
                    """
                )
            }
            kind = number(12, UInt32.self)
            fingerprint = ModelFingerprint(words: [number(16, UInt64.self), number(24, UInt64.self)])
            self.size = number(32, UInt64.self)
            bodySize = Int(clamping: number(40, UInt64.self))
            withExtendedLifetime(buffer) {}
        }

        func check(_ source: SnapshotSource) throws(LLaDAError) {
            guard size == UInt64(source.count) else {
                throw LLaDAError(
                    .snapshot,
                    """
                    \(source.name) has \(source.count) bytes; expected \(size): it was \
                    \(source.count < size ? "truncated" : "added to")
                    """
                )
            }
            let room = source.count - SnapshotFormat.headerSize - SnapshotFormat.checksumSize
            guard room >= 0, bodySize <= room else {
                throw LLaDAError(.snapshot, "\(source.name) is damaged: a body of \(bodySize) bytes does not fit")
            }
        }
    }

    private static func checkSum(_ source: SnapshotSource, _ progress: Progress) throws(LLaDAError) {
        let end = source.count - SnapshotFormat.checksumSize
        let piece = min(end, 1 << 20)
        let buffer = try Buffer<UInt8>(count: piece)
        var checksum = Checksum()
        for start in stride(from: 0, to: end, by: piece) {
            let part = UnsafeMutableRawBufferPointer(start: buffer.pointer, count: min(piece, end - start))
            try source.read(start, into: part)
            checksum.update(UnsafeRawBufferPointer(part))
            try progress(Double(start + part.count) / Double(end))
        }
        let stored = try Buffer<UInt64>(count: 1)
        try source.read(
            end, into: UnsafeMutableRawBufferPointer(start: stored.pointer, count: SnapshotFormat.checksumSize))
        let found = UInt64(littleEndian: stored.pointer[0])
        guard found == checksum.value else {
            throw LLaDAError(
                .snapshot,
                """
                \(source.name) is damaged: its checksum is \(String(found, radix: 16)); expected \
                \(String(checksum.value, radix: 16))
                """
            )
        }
    }

    // MARK: Reading

    var name: String { source.name }
    var remaining: Int { body.count - offset }

    func error(_ what: String, _ found: some CustomStringConvertible, expected: String) -> LLaDAError {
        LLaDAError(.snapshot, file: name, key: what, found: "\(found)", expected: expected)
    }

    /// Runs a check, and throws its error as an error of the snapshot.
    func check(_ body: () throws(LLaDAError) -> Void) throws(LLaDAError) {
        do throws(LLaDAError) {
            try body()
        } catch {
            throw error.status == .outOfMemory ? error : LLaDAError(.snapshot, "\(name): \(error.message)")
        }
    }

    private mutating func take(_ count: Int, _ what: String) throws(LLaDAError) -> UnsafeRawBufferPointer {
        guard count <= remaining else { throw error(what, "cut off", expected: "\(count) bytes") }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: body[offset..<offset + count])
    }

    mutating func number<Value: FixedWidthInteger & BitwiseCopyable>(_ what: String, as type: Value.Type)
        throws(LLaDAError) -> Value
    {
        Value(littleEndian: try take(MemoryLayout<Value>.size, what).loadUnaligned(as: type))
    }

    mutating func integer(_ what: String, in range: ClosedRange<Int>) throws(LLaDAError) -> Int {
        let value = Int(try number(what, as: Int64.self))
        guard range ~= value else { throw error(what, value, expected: "\(range.lowerBound) to \(range.upperBound)") }
        return value
    }

    /// Reads a number of elements of at least `size` bytes each. Throws if that many do not fit the rest of the body.
    mutating func count(_ what: String, ofSize size: Int) throws(LLaDAError) -> Int {
        let value = Int(try number(what, as: Int64.self))
        guard 0...remaining / size ~= value else { throw error(what, value, expected: "at most \(remaining / size)") }
        return value
    }

    mutating func token(_ what: String, vocabSize: Int) throws(LLaDAError) -> Int32 {
        let token = try number(what, as: Int32.self)
        guard 0..<vocabSize ~= Int(token) else { throw error(what, token, expected: "0 to \(vocabSize - 1)") }
        return token
    }

    mutating func tokens(_ what: String, _ count: Int, vocabSize: Int) throws(LLaDAError) -> [Int32] {
        guard count <= remaining / MemoryLayout<Int32>.size else {
            throw error(what, "cut off", expected: "\(count) tokens")
        }
        var tokens: [Int32] = []
        try tokens.makeRoom(for: count)
        for _ in 0..<count { tokens.append(try token(what, vocabSize: vocabSize)) }
        return tokens
    }

    /// Fills `out` with raw bytes.
    mutating func bytes(_ what: String, into out: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        out.copyMemory(from: try take(out.count, what))
    }

    func expectEnd() throws(LLaDAError) {
        if remaining != 0 { throw error("the body", "\(remaining) bytes too long", expected: "an end") }
    }

    /// Reads the keys and values at `offset` of the source into a page.
    func read(_ page: Page, at offset: Int) throws(LLaDAError) {
        try source.read(offset, into: page.bytes)
    }
}
