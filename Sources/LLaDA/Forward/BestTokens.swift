import Kernels

/// The most likely tokens of some rows, gathered while tiles of their logits go by: by each thread for itself, and then
/// joined. Tokens have a total order, so the result depends neither on threads nor on the order of tiles.
package struct BestTokens {
    /// A token of a row: [workers, rows, count] of them are the memory of the gathering.
    package struct Entry: BitwiseCopyable {
        let logit: Float
        let token: Int32

        static func isBefore(_ one: Entry, _ other: Entry) -> Bool {
            one.logit != other.logit ? one.logit > other.logit : one.token < other.token
        }
    }

    /// The number of tokens that are wanted of each row.
    let count: Int
    private let workers: Int
    private let rows: Int
    private let entries: UnsafeMutablePointer<Entry>  // [workers, rows, count]: heaps, the last in order at the top
    private let found: UnsafeMutablePointer<Int32>  // [workers, rows]

    /// Begins with no tokens. `room` is for the rows of later calls.
    init(_ count: Int, rows: Int, room: Int, workers: Int, _ work: Workspace) throws(LLaDAError) {
        self.count = count
        self.workers = workers
        self.rows = rows
        entries = try work.bestEntries.reserve(workers * max(rows, room) * count)
        found = try work.bestCounts.reserve(workers * max(rows, room))
        found.update(repeating: 0, count: workers * rows)
    }

    /// Takes the tokens of a tile of a row that are among the best so far. `largest` is the largest of the logits.
    /// logits: [vocabulary.count], adjusted
    func add(
        _ logits: UnsafePointer<Float>, _ vocabulary: Range<Int>, largest: Float, row: Int, worker: Int
    ) {
        let place = worker * rows + row
        let heap = UnsafeMutableBufferPointer(start: entries + place * count, count: count)
        var size = Int(found[place])
        var index = 0
        while size < count, index < vocabulary.count {
            if logits[index] > -.infinity {  // neither banned nor NaN
                heap[size] = Entry(logit: logits[index], token: Int32(vocabulary.lowerBound + index))
                size += 1
                if size == count { heap.makeHeap(by: Entry.isBefore) }
            }
            index += 1
        }
        found[place] = Int32(size)
        if size < count { return }
        var least = heap[0].logit
        if largest < least { return }
        while index < vocabulary.count {
            if logits[index] >= least {
                let entry = Entry(logit: logits[index], token: Int32(vocabulary.lowerBound + index))
                if Entry.isBefore(entry, heap[0]) {
                    heap.replaceTop(by: entry, Entry.isBefore)
                    least = heap[0].logit
                }
            }
            index += 1
        }
    }

    /// Joins what the threads have found of a row, and calls `each` with at most `most` tokens, best first: fewer if
    /// others are banned. A row can be joined once. Returns the number of tokens.
    func join(row: Int, most: Int, _ each: (_ index: Int, _ token: Int32, _ logit: Float) -> Void) -> Int {
        let heap = UnsafeMutableBufferPointer(start: entries + row * count, count: count)
        var size = Int(found[row])
        for worker in 1..<max(workers, 1) {
            let place = worker * rows + row
            for entry in UnsafeBufferPointer(start: entries + place * count, count: Int(found[place])) {
                if size < count {
                    heap[size] = entry
                    size += 1
                    if size == count { heap.makeHeap(by: Entry.isBefore) }
                } else if Entry.isBefore(entry, heap[0]) {
                    heap.replaceTop(by: entry, Entry.isBefore)
                }
            }
        }
        let sorted = UnsafeMutableBufferPointer(rebasing: heap[..<size])
        sorted.sortInPlace(by: Entry.isBefore)
        let number = min(size, most)
        for index in 0..<number { each(index, sorted[index].token, sorted[index].logit) }
        return number
    }
}
