/// The message by which rank 0 has another rank open a model.
struct OpenOrder {
    var number: Int
    /// Of the cluster.
    let size: Int
    var dtype: NumberFormat?
    var hasBLAS: Bool
    var common: UInt64
    /// Of the rank's experts and its part of the head.
    var parts: UInt64
    var starts: [Int]  // [layers, size + 1]
    var headStarts: [Int]  // [size + 1]
    var path: String

    private static let headWords = 7

    var bytes: [UInt8] {
        let format = dtype.flatMap { NumberFormat.allCases.firstIndex(of: $0) } ?? -1
        var words = [
            Order.open.rawValue, Int64(number), Int64(format), hasBLAS ? 1 : 0, Int64(bitPattern: common),
            Int64(bitPattern: parts), Int64(starts.count),
        ]
        for start in starts + headStarts { words.append(Int64(start)) }
        var bytes = words.withUnsafeBytes { [UInt8]($0) }
        bytes += path.utf8
        return bytes
    }

    /// Reads a message; nil if it is none.
    init?(_ bytes: UnsafeRawBufferPointer, size: Int) {
        guard bytes.count >= Self.headWords * 8 else { return nil }
        func word(_ index: Int) -> Int64 { bytes.loadUnaligned(fromByteOffset: index * 8, as: Int64.self) }
        let most = bytes.count / 8 - Self.headWords - (size + 1)
        guard most >= 0, 0...Int64(most) ~= word(6) else { return nil }
        let middle = Self.headWords + Int(word(6))
        let head = middle + size + 1
        guard -1..<Int64(NumberFormat.allCases.count) ~= word(2) else { return nil }
        self.size = size
        number = Int(word(1))
        dtype = word(2) < 0 ? nil : NumberFormat.allCases[Int(word(2))]
        hasBLAS = word(3) != 0
        common = UInt64(bitPattern: word(4))
        parts = UInt64(bitPattern: word(5))
        starts = []
        for index in Self.headWords..<middle { starts.append(Int(word(index))) }
        headStarts = []
        for index in middle..<head { headStarts.append(Int(word(index))) }
        path = String(decoding: bytes[(head * 8)...], as: UTF8.self)
    }

    init(
        number: Int, size: Int, dtype: NumberFormat?, hasBLAS: Bool, common: UInt64, parts: UInt64, starts: [Int],
        headStarts: [Int], path: String
    ) {
        self.size = size
        self.number = number
        self.dtype = dtype
        self.hasBLAS = hasBLAS
        self.common = common
        self.parts = parts
        self.headStarts = headStarts
        self.starts = starts
        self.path = path
    }
}

/// The head of what a rank answers to `OpenOrder`.
struct OpenAnswer {
    enum State: Int64 {
        /// Its experts are read. What follows are the bytes that the fingerprint reads of them.
        case done = 0
        /// It is still reading.
        case reading = 1
        /// It cannot. What follows is why.
        case failed = 2
    }

    let number: Int
    let state: State
    /// See `Compute.preparedDigest`.
    let prepared: UInt64

    static let headBytes = 24

    var bytes: [UInt8] {
        [Int64(number), state.rawValue, Int64(bitPattern: prepared)].withUnsafeBytes { Array($0) }
    }

    init(_ number: Int, _ state: State, prepared: UInt64 = 0) {
        self.number = number
        self.state = state
        self.prepared = prepared
    }

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headBytes,
            let state = State(rawValue: bytes.loadUnaligned(fromByteOffset: 8, as: Int64.self))
        else { return nil }
        number = Int(bytes.loadUnaligned(as: Int64.self))
        self.state = state
        prepared = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
    }
}
