/// The format of every snapshot. All numbers are little-endian.
///
/// | bytes | |
/// |---|---|
/// | 8 | magic |
/// | 4, 4 | version, kind |
/// | 8, 8 | fingerprint of the model |
/// | 8 | bytes of the whole |
/// | 8 | bytes of the body |
/// | ... | body |
/// | ... | pages of keys and values, as they lie in memory; the body says which |
/// | 8 | checksum of all before |
enum SnapshotFormat {
    enum Kind: UInt32 {
        case decoder = 1
        case prefixCache = 2

        var name: String {
            switch self {
            case .decoder: "a decoder"
            case .prefixCache: "a prefix cache"
            }
        }
    }

    static let magic: UInt64 = 0x504E_5341_4441_4C4C  // "LLADASNP"
    static let version: UInt32 = 4
    static let headerSize = 48
    static let checksumSize = 8
}

/// A growing array of bytes: integers and floats, little-endian.
struct ByteWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { bytes += $0 } }

    mutating func put(_ value: Int) { put(Int64(value)) }

    mutating func put(_ value: Bool) { put(UInt8(value ? 1 : 0)) }

    mutating func put(_ value: Float) { put(value.bitPattern) }

    mutating func put(_ values: some Sequence<Int32>) { for value in values { put(value) } }

    /// Appends bytes as they lie in memory.
    mutating func put(_ raw: UnsafeRawBufferPointer) { bytes += raw }
}

/// A snapshot to write: a header, a body, pages.
struct SnapshotWriter {
    private let head: [UInt8]
    private let pages: [Page]
    let byteCount: Int

    init(_ kind: SnapshotFormat.Kind, of fingerprint: ModelFingerprint, body: [UInt8], pages: [Page]) {
        byteCount =
            SnapshotFormat.headerSize + body.count + pages.reduce(0) { $0 + $1.bytes.count }
            + SnapshotFormat.checksumSize
        var header = ByteWriter()
        header.put(SnapshotFormat.magic)
        header.put(SnapshotFormat.version)
        header.put(kind.rawValue)
        header.put(fingerprint.words[0])
        header.put(fingerprint.words[1])
        header.put(byteCount)
        header.put(body.count)
        head = header.bytes + body
        self.pages = pages
    }

    /// Calls `take` with all bytes in their order, in pieces. A piece is valid during its call only. `progress`
    /// receives the part done, page by page.
    func write(
        progress: Progress?, _ take: (UnsafeRawBufferPointer) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        var checksum = Checksum()
        var done = 0
        func pass(_ bytes: UnsafeRawBufferPointer) throws(LLaDAError) {
            checksum.update(bytes)
            try take(bytes)
            done += bytes.count
            try progress?(Double(done) / Double(byteCount - SnapshotFormat.checksumSize))
        }
        try head.withUnsafeBufferPointer { (head) throws(LLaDAError) in try pass(UnsafeRawBufferPointer(head)) }
        for page in pages {
            try page.read(pass)
        }
        let end = withUnsafeBytes(of: checksum.value.littleEndian) { Array($0) }
        try end.withUnsafeBufferPointer { (end) throws(LLaDAError) in try take(UnsafeRawBufferPointer(end)) }
    }

    /// Writes all bytes to memory.  out: [byteCount]
    func write(into out: UnsafeMutableRawBufferPointer, progress: Progress?) throws(LLaDAError) {
        var done = 0
        try write(progress: progress) { (bytes) throws(LLaDAError) in
            UnsafeMutableRawBufferPointer(rebasing: out[done..<done + bytes.count]).copyMemory(from: bytes)
            done += bytes.count
        }
    }

    func write(to path: UnsafePointer<CChar>, progress: Progress?) throws(LLaDAError) {
        let file = try NewFile(path)
        try write(progress: progress) { (bytes) throws(LLaDAError) in try file.write(bytes) }
        try file.publish()
    }
}
