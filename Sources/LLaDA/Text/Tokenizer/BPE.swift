/// Byte-pair encoding of one piece of text: the merges and how to apply them.
///
/// Order of merging, ties and the treatment of outdated queue entries are those of Hugging Face `tokenizers`
/// (`models/bpe/word.rs`), since they decide the ids wherever two merges make the same token.
struct BPE: @unchecked Sendable {  // it never changes
    /// By rank, the most urgent first.
    private let merges: Buffer<Merge>
    /// From pairs to ranks.
    private let places: Buffer<TaggedPlace>
    private let hash: SecretHash
    /// The id of each single byte.
    private let byteIDs: [Int32]

    struct Merge: BitwiseCopyable {
        var left: Int32
        var right: Int32
        /// The token that the merge makes.
        var result: Int32
    }

    /// Takes `count` merges, fewer than 2^24, in the order of the file, the most urgent first. Of equal pairs the last
    /// counts, as in Hugging Face. Throws `.outOfMemory`.
    /// There are at most `mostPairs` different pairs.
    init(
        _ merges: Buffer<Merge>, count: Int, mostPairs: Int, byteIDs: [Int32], hash: SecretHash = SecretHash()
    ) throws(LLaDAError) {
        self.merges = merges
        self.byteIDs = byteIDs
        self.hash = hash
        places = try TaggedPlace.places(for: mostPairs)
        for rank in 0..<count {
            let merge = merges.pointer[rank]
            let hash = hash(pair: merge.left, merge.right)
            places.pointer[place(merge.left, merge.right, hash)] = TaggedPlace(Int32(rank), hash)
        }
    }

    /// The bytes of memory.
    var byteCount: Int { merges.byteCount + places.byteCount }

    private static let noRank = UInt32.max

    /// Where the rank of a pair is, or, if there is none, would be.
    @inline(__always)
    private func place(_ left: Int32, _ right: Int32, _ hash: UInt64) -> Int {
        let places = places.elements
        var place = TaggedPlace.first(hash, places)
        while !places[place].isEmpty {
            if places[place].mayHave(hash) {
                let merge = merges.pointer[Int(places[place].number)]
                if merge.left == left, merge.right == right { break }
            }
            place = TaggedPlace.next(place, places)
        }
        return place
    }

    @inline(__always)
    private func rank(_ left: Int32, _ right: Int32) -> UInt32 {
        let found = places.pointer[place(left, right, hash(pair: left, right))]
        return found.isEmpty ? Self.noRank : UInt32(found.number)
    }

    @inline(__always)
    private func result(_ rank: UInt32) -> Int32 { merges.pointer[Int(rank)].result }

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

    /// Appends the ids of `piece`. A merge whose result is in `avoiding` is not made. Throws `.outOfMemory`.
    func encode(
        _ piece: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, avoiding: BitSet? = nil, into ids: inout [Int32]
    ) throws(LLaDAError) {
        try ids.makeRoom(for: piece.count)
        guard piece.count > 1 else {
            for byte in piece { ids.append(byteIDs[Int(byte)]) }
            return
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        try scratch.symbols.makeRoom(for: piece.count)
        for (place, byte) in piece.enumerated() {
            scratch.symbols.append(
                Symbol(
                    id: byteIDs[Int(byte)], previous: Int32(place) - 1,
                    next: place + 1 < piece.count ? Int32(place) + 1 : -1))
        }
        // A merge takes a pair out of the queue and puts in two at most.
        scratch.queue.removeAll(keepingCapacity: true)
        try scratch.queue.makeRoom(for: 2 * piece.count)
        scratch.symbols.withUnsafeMutableBufferPointer { symbols in
            merge(symbols, &scratch.queue, avoiding)
            var place: Int32 = 0
            while place >= 0 {
                ids.append(symbols[Int(place)].id)
                place = symbols[Int(place)].next
            }
        }
    }

    /// `queue` is empty and has room for two pairs of each symbol.
    private func merge(_ symbols: UnsafeMutableBufferPointer<Symbol>, _ queue: inout [UInt64], _ avoiding: BitSet?) {
        func enqueue(_ left: Int, _ right: Int) {
            let rank = rank(symbols[left].id, symbols[right].id)
            guard rank != Self.noRank else { return }
            if let avoiding, avoiding[Int(result(rank))] { return }
            Heap.push(UInt64(rank) << 32 | UInt64(left), &queue)
        }
        for place in 1..<symbols.count { enqueue(place - 1, place) }
        while let top = Heap.pop(&queue) {
            let left = Int(top & 0xFFFF_FFFF)
            let result = result(UInt32(top >> 32))
            guard symbols[left].id >= 0, symbols[left].next >= 0 else { continue }
            let right = Int(symbols[left].next)
            // The entry is outdated when the pair now at this place makes another token. That it may by now be another
            // pair making the same token, Hugging Face does not mind, and neither must we.
            let present = rank(symbols[left].id, symbols[right].id)
            guard present != Self.noRank, self.result(present) == result else { continue }
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
