/// What one sequence wants of the next forwards: what is missing before its active positions, then those themselves.
/// Parts of several sequences run as one forward; nobody can tell from the results.
struct ForwardPlan {
    /// Rows of one sequence that go together.
    struct Part {
        let sequence: CachedSequence
        let rows: [Row]  // their `sequence` is an index into `tables`
        let tables: [PageTable]
        /// Whose keys and values the sequence has afterwards, in addition.
        let tokens: [Int32]

        var wanted: Int { rows.reduce(0) { $0 + ($1.wantsLogits ? 1 : 0) } }
    }

    /// To be run one after another, or several at once.
    let ahead: [Part]
    /// To be run after those.
    let last: Part
    /// Positions before this one are not being denoised.
    let settled: Int

    /// One forward over all of `parts`, of one model. Returns the states of the rows that want logits, part by part.
    static func run(_ parts: [Part]) throws(LLaDAError) -> FinalStates? {
        guard let transformer = parts.first?.sequence.transformer else { return nil }
        var rows: [Row] = []
        var tables: [PageTable] = []
        var masks: [ExpertMask?] = []
        var observers = parts.compactMap(\.sequence.observer).prefix(1)
        for part in parts {
            let first = tables.count
            rows += part.rows.map { row in
                var row = row
                row.sequence += first
                return row
            }
            tables += part.tables
            masks += part.tables.map { _ in part.sequence.expertMask }
            if let watch = part.sequence.watch, part.wanted > 0 {
                observers.append(watch.observer(first..<tables.count))
            }
        }
        let states = try transformer.forward(
            Batch(rows: rows, tables: tables, expertMasks: masks),
            cancellations: parts.compactMap(\.sequence.cancellation),
            observer: observers.isEmpty ? nil : Observer(Array(observers)))
        var start = 0
        for part in parts {
            let end = start + part.wanted
            part.sequence.took(part, states.slice(start..<end))
            start = end
        }
        return states
    }

    /// Cuts a list of parts, in their order, into forwards of a bounded number of rows.
    static func forwards(_ parts: [Part]) -> [Range<Int>] {
        var forwards: [Range<Int>] = []
        var rows = 0
        for (index, part) in parts.enumerated() {
            rows += part.rows.count
            if let last = forwards.last, rows <= CachedSequence.mostRows(blockLength: part.sequence.blockLength) {
                forwards[forwards.count - 1] = last.lowerBound..<index + 1
            } else {
                forwards.append(index..<index + 1)
                rows = part.rows.count
            }
        }
        return forwards
    }
}
