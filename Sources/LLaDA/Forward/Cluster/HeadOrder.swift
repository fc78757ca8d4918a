/// The message by which rank 0 has another rank find the peaks of its tiles of the vocabulary: a head of words, and the
/// states of rows. The answer is the peaks: [tiles of the rank, rows].
struct HeadOrder {
    let rows: Int
    /// Whether rows are prepared for the head's kernels; else they are f32.
    let isPrepared: Bool
    let rowBytes: Int

    static let headBytes = 64
    var byteCount: Int { Self.headBytes + rows * rowBytes }

    init(rows: Int, isPrepared: Bool, rowBytes: Int) {
        (self.rows, self.isPrepared, self.rowBytes) = (rows, isPrepared, rowBytes)
    }

    func write(to base: UnsafeMutableRawPointer) {
        let words = base.bindMemory(to: Int64.self, capacity: Self.headBytes / 8)
        words.update(repeating: 0, count: Self.headBytes / 8)
        words[0] = Order.head.rawValue
        words[1] = Int64(rows)
        words[2] = isPrepared ? 1 : 0
        words[3] = Int64(rowBytes)
    }

    /// Reads a message of `byteCount` bytes; nil if it is none for these sizes of rows.
    init?(_ base: UnsafeRawPointer, byteCount: Int, floatBytes: Int, preparedBytes: Int) {
        guard byteCount >= Self.headBytes else { return nil }
        func word(_ index: Int) -> Int { Int(base.loadUnaligned(fromByteOffset: index * 8, as: Int64.self)) }
        isPrepared = word(2) != 0
        rows = word(1)
        rowBytes = isPrepared ? preparedBytes : floatBytes
        guard word(3) == rowBytes, rows > 0, rows <= LayerOrder.mostBytes,
            Self.headBytes + rows * rowBytes == byteCount
        else { return nil }
    }
}
