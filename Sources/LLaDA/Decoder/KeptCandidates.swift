/// The most likely tokens at positions of the last forward, as far as somebody has asked for them.
struct KeptCandidates {
    private var candidateScratch: Scratch<Decoder.Candidate>
    private var foundScratch: Scratch<Int32>
    private var candidates: UnsafeMutablePointer<Decoder.Candidate>?  // [rows, count]
    private var found: UnsafeMutablePointer<Int32>?  // [rows]: how many there are; -1: they are not known
    /// How many tokens are kept of each row.
    private(set) var count = 0
    /// The rows for which there is room.
    private var rows = 0..<0
    private var asking = Asking()

    /// Whether `most` tokens of a row can be kept.
    func hasRoom(for most: Int, row: Int) -> Bool { rows.contains(row) && most <= count }

    init(in budget: MemoryBudget) {
        candidateScratch = Scratch(in: budget)
        foundScratch = Scratch(in: budget)
    }

    /// Forgets all rows, after a forward.
    mutating func clear() {
        rows = 0..<0
        asking = Asking()
    }

    /// Makes room for `count` tokens of each of `rows`, and of up to `room` rows later on. Nothing is known of them.
    mutating func begin(_ count: Int, rows: Range<Int>, room: Int) throws(LLaDAError) {
        self.rows = 0..<0
        candidates = try candidateScratch.reserve(max(rows.count, room) * count)
        found = try foundScratch.reserve(max(rows.count, room))
        found?.update(repeating: -1, count: rows.count)
        (self.count, self.rows) = (count, rows)
    }

    /// Notes what was gathered of a row, which is the `index`-th of `best`.
    func keep(_ row: Int, _ peak: Peak, _ best: BestTokens, _ index: Int) {
        guard let candidates, let found, rows.contains(row) else { return }
        let place = candidates + (row - rows.lowerBound) * count
        found[row - rows.lowerBound] = Int32(
            best.join(row: index, most: count) { number, token, logit in
                place[number] = Decoder.Candidate(token: token, logit: logit, probability: peak.probability(of: logit))
            })
    }

    /// Returns the first `most` tokens of a row; nil if they are not known.
    func first(_ most: Int, row: Int) -> UnsafeBufferPointer<Decoder.Candidate>? {
        guard let candidates, let found, rows.contains(row) else { return nil }
        let known = Int(found[row - rows.lowerBound])
        guard known >= 0, known < count || most <= count else { return nil }
        return UnsafeBufferPointer(start: candidates + (row - rows.lowerBound) * count, count: min(known, most))
    }

    /// Returns which rows to look at for the sake of `row`.
    mutating func next(_ row: Int) -> Range<Int> {
        var asking = asking
        defer { self.asking = asking }
        return asking.next(row, of: rows) { first(1, row: $0) != nil }
    }
}

/// Which rows are computed when somebody asks for one: that row at first, and with each time eight times as many of its
/// neighbours. So who asks for one pays for one, and who asks for all pays little more than for all at once.
struct Asking {
    private var number = 1

    /// Returns rows around `row`, which is not known.
    mutating func next(_ row: Int, of rows: Range<Int>, isKnown: (Int) -> Bool) -> Range<Int> {
        var (first, last) = (row, row)
        while last - first + 1 < number, last + 1 < rows.upperBound, !isKnown(last + 1) { last += 1 }
        while last - first + 1 < number, first > rows.lowerBound, !isKnown(first - 1) { first -= 1 }
        number = min(8 * number, 1 << 30)
        return first..<last + 1
    }
}
