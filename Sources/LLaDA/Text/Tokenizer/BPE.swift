/// Byte-pair encoding of one piece of text: the merges and how to apply them.
///
/// Order of merging, ties and the treatment of outdated queue entries are those of Hugging Face `tokenizers`
/// (`models/bpe/word.rs`), since they decide the ids wherever two merges make the same token.
struct BPE: Sendable {
    /// Open addressing: (left << 32 | right) + 1 to rank; key 0 is an empty place.
    private var keys: [UInt64]
    private var ranks: [UInt32]
    /// The token each merge makes, by rank.
    private let results: [Int32]
    /// The id of each single byte.
    private let byteIDs: [Int32]

    struct Merge {
        var left: Int32
        var right: Int32
        var result: Int32
    }

    /// Merges in the order of the file, the most urgent first. Of equal pairs the last counts, as in Hugging Face.
    init(_ merges: [Merge], byteIDs: [Int32]) {
        var size = 16
        while size < merges.count * 2 { size *= 2 }
        keys = Array(repeating: 0, count: size)
        ranks = Array(repeating: 0, count: size)
        results = merges.map(\.result)
        self.byteIDs = byteIDs
        for (rank, merge) in merges.enumerated() {
            let key = Self.key(merge.left, merge.right)
            var place = Self.place(key, size - 1)
            while keys[place] != 0, keys[place] != key { place = (place + 1) & (size - 1) }
            keys[place] = key
            ranks[place] = UInt32(rank)
        }
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        (UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))) &+ 1
    }

    @inline(__always)
    private static func place(_ key: UInt64, _ mask: Int) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
    }

    private static let noRank = UInt32.max

    @inline(__always)
    private func rank(_ left: Int32, _ right: Int32) -> UInt32 {
        let key = Self.key(left, right)
        return keys.withUnsafeBufferPointer { keys in
            var place = Self.place(key, keys.count - 1)
            while keys[place] != 0 {
                if keys[place] == key { return ranks.withUnsafeBufferPointer { $0[place] } }
                place = (place + 1) & (keys.count - 1)
            }
            return Self.noRank
        }
    }

    /// Room for one piece, reused for the next.
    struct Scratch {
        fileprivate var symbols: [Symbol] = []
        /// A binary heap of rank << 32 | place of the left symbol, the least first.
        fileprivate var queue: [UInt64] = []
    }

    fileprivate struct Symbol {
        var id: Int32  // -1: merged into the symbol before it
        var previous: Int32
        var next: Int32  // -1: none
    }

    /// Appends the ids of `piece`. A merge whose result is in `avoiding` is not made.
    func encode(
        _ piece: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, avoiding: [Bool]? = nil, into ids: inout [Int32]
    ) {
        guard piece.count > 1 else {
            for byte in piece { ids.append(byteIDs[Int(byte)]) }
            return
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        for (place, byte) in piece.enumerated() {
            scratch.symbols.append(
                Symbol(
                    id: byteIDs[Int(byte)], previous: Int32(place) - 1,
                    next: place + 1 < piece.count ? Int32(place) + 1 : -1))
        }
        scratch.symbols.withUnsafeMutableBufferPointer { symbols in
            merge(symbols, &scratch.queue, avoiding)
            var place: Int32 = 0
            while place >= 0 {
                ids.append(symbols[Int(place)].id)
                place = symbols[Int(place)].next
            }
        }
    }

    private func merge(_ symbols: UnsafeMutableBufferPointer<Symbol>, _ queue: inout [UInt64], _ avoiding: [Bool]?) {
        func enqueue(_ left: Int, _ right: Int) {
            let rank = rank(symbols[left].id, symbols[right].id)
            guard rank != Self.noRank else { return }
            if let avoiding, avoiding[Int(results[Int(rank)])] { return }
            Heap.push(UInt64(rank) << 32 | UInt64(left), &queue)
        }
        queue.removeAll(keepingCapacity: true)
        for place in 1..<symbols.count { enqueue(place - 1, place) }
        while let top = Heap.pop(&queue) {
            let left = Int(top & 0xFFFF_FFFF)
            let result = results[Int(top >> 32)]
            guard symbols[left].id >= 0, symbols[left].next >= 0 else { continue }
            let right = Int(symbols[left].next)
            // The entry is outdated when the pair now at this place makes another token. That it may by now be another
            // pair making the same token, Hugging Face does not mind, and neither must we.
            let present = rank(symbols[left].id, symbols[right].id)
            guard present != Self.noRank, results[Int(present)] == result else { continue }
            symbols[left].id = result
            symbols[left].next = symbols[right].next
            symbols[right].id = -1
            if symbols[left].next >= 0 { symbols[Int(symbols[left].next)].previous = Int32(left) }
            if symbols[left].previous >= 0 { enqueue(Int(symbols[left].previous), left) }
            if symbols[left].next >= 0 { enqueue(left, Int(symbols[left].next)) }
        }
    }
}

private enum Heap {
    @inline(__always)
    static func push(_ value: UInt64, _ heap: inout [UInt64]) {
        heap.append(value)
        heap.withUnsafeMutableBufferPointer { heap in
            var place = heap.count - 1
            while place > 0 {
                let parent = (place - 1) / 2
                if heap[parent] <= value { break }
                heap[place] = heap[parent]
                place = parent
            }
            heap[place] = value
        }
    }

    @inline(__always)
    static func pop(_ heap: inout [UInt64]) -> UInt64? {
        guard let top = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return top }
        heap.withUnsafeMutableBufferPointer { heap in
            var place = 0
            while true {
                var child = 2 * place + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
                if heap[child] >= last { break }
                heap[place] = heap[child]
                place = child
            }
            heap[place] = last
        }
        return top
    }
}
