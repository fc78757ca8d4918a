/// A forward that a sequence has prepared: the missing positions before its active ones, then the active ones.
/// Sequences of one model run theirs as one forward, with the results that each would have alone.
package struct Pending {
    /// Rows of one sequence that run together.
    struct Part {
        let sequence: CachedSequence
        let rows: [Row]  // the `sequence` of a row is an index into `tables`
        let tables: [PageTable]
        /// The tokens whose keys and values the sequence has in addition after the run.
        let tokens: [Int32]

        var wanted: Int { rows.reduce(0) { $0 + ($1.wantsLogits ? 1 : 0) } }
    }

    /// The parts over earlier positions. They may run one after another, or several at once.
    let ahead: [Part]
    /// The part over the active positions. It runs after the parts of `ahead`.
    let last: Part

    /// The number of forwards over earlier positions.
    package var aheadCount: Int { ahead.count }

    /// Runs what sequences of one model have prepared, in forwards of a bounded number of rows: the second phase.
    /// `done` is called after each forward over active positions, with the indices of their sequences and the states of
    /// the rows that want logits, sequence after sequence. After an error, some sequences have run and others have not.
    package static func run(
        _ pending: [Pending], done: (Range<Int>, FinalStates) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        let ahead = pending.flatMap(\.ahead)
        for range in forwards(ahead) { _ = try forward(ahead[range]) }
        let last = pending.map(\.last)
        for range in forwards(last) {
            if let states = try forward(last[range]) { try done(range, states) }
        }
    }

    /// Runs the forward of one sequence alone; the sequence's `states` are then those of this forward.
    package func run() throws(LLaDAError) { try Self.run([self]) { (_, _) throws(LLaDAError) in } }

    /// Runs one forward over all of `parts`. Returns the states of the rows that want logits, part by part.
    private static func forward(_ parts: ArraySlice<Part>) throws(LLaDAError) -> FinalStates? {
        guard let denoiser = parts.first?.sequence.denoiser else { return nil }
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
        let states = try denoiser.forward(
            Batch(rows: rows, tables: tables, expertMasks: masks),
            cancellations: parts.map(\.sequence.cancellation),
            observer: observers.isEmpty ? nil : Observer(Array(observers)))
        var start = 0
        for part in parts {
            let end = start + part.wanted
            part.sequence.took(part, states.slice(start..<end))
            start = end
        }
        return states
    }

    /// Cuts the list of parts, in its order, into forwards of a bounded number of rows.
    private static func forwards(_ parts: [Part]) -> [Range<Int>] {
        var forwards: [Range<Int>] = []
        var rows = 0
        for (index, part) in parts.enumerated() {
            rows += part.rows.count
            if let last = forwards.last, rows <= Batch.mostRows(blockLength: part.sequence.blockLength) {
                forwards[forwards.count - 1] = last.lowerBound..<index + 1
            } else {
                forwards.append(index..<index + 1)
                rows = part.rows.count
            }
        }
        return forwards
    }
}
