/// A forward that a sequence has prepared: the missing positions before its active ones, then the active ones.
/// Sequences of one model run theirs as one forward, with the results that each would have alone.
package struct Pending {
    /// Rows of one sequence that run together.
    struct Part {
        /// Positions under the strict block-causal mask, whose keys and values the sequence has after the run.
        let positions: Range<Int>
        /// Positions behind them that run as one block.
        var window = 0..<0
        /// The last of `positions`, whose block is not active yet.
        var rider = 0..<0
        /// Which of the first of `positions` run; nil: all.
        var selection: [Bool]?
        /// The positions whose logits are wanted.
        let wanted: Range<Int>

        /// The number of rows that do not run.
        private var left: Int { selection?.count { !$0 } ?? 0 }
        var rows: Int { positions.count + window.count - left }
        /// The number of rows whose logits are wanted.
        var wantedRows: Int { wanted.count - left }

        func runs(_ position: Int) -> Bool {
            guard let selection, position - positions.lowerBound < selection.count else { return true }
            return selection[position - positions.lowerBound]
        }
    }

    let sequence: CachedSequence
    /// The canvas. It must stay as it is until the run.
    let tokens: UnsafeBufferPointer<Int32>
    /// The first position that is missing.
    let start: Int
    let active: Range<Int>
    let asOneBlock: Bool
    /// Which of the active positions run; nil: all.
    let selection: [Bool]?
    /// The block behind the active positions that runs along; empty if none does.
    let rider: Range<Int>

    /// Whether the active positions have run along in an earlier forward, so that there is nothing to run.
    var isDone: Bool { start == active.upperBound }

    /// The number of forwards over earlier positions.
    package var aheadCount: Int {
        var count = 0
        var start = start
        while let part = ahead(from: start) { (count, start) = (count + 1, part.positions.upperBound) }
        return count
    }

    /// Returns the part from `start` on over earlier positions only; nil if the rest fits into the last part. Missing
    /// positions before the active ones go first, in pieces, unless they fit into the same forward.
    private func ahead(from start: Int) -> Part? {
        let piece = Batch.mostRows(blockLength: sequence.blockLength)
        guard active.upperBound - start > piece, active.lowerBound > start else { return nil }
        let end = min(start + piece, active.lowerBound)
        return Part(positions: start..<end, wanted: end..<end)
    }

    /// Returns the part over the active positions. It runs after all parts over earlier positions.
    private func last(from start: Int) -> Part {
        if asOneBlock { return Part(positions: start..<active.lowerBound, window: active, wanted: active) }
        let end = max(active.upperBound, rider.upperBound)
        return Part(positions: start..<end, rider: rider, selection: selection, wanted: active.lowerBound..<end)
    }

    /// The number of rows that are to be run.
    package var rowCount: Int { active.upperBound - start + rider.count - (selection?.count { !$0 } ?? 0) }

    /// Runs the forward of one sequence alone; the sequence's `states` are then those of this forward. `progress`
    /// receives the part of it that is done, and may end it.
    package func run(progress: Progress? = nil) throws(LLaDAError) {
        let work = try sequence.denoiser.compute.workspaces.take()
        defer { sequence.denoiser.compute.workspaces.giveBack(work) }
        work.report(to: progress, rows: rowCount, interval: 0)
        try Self.run(1, { _ in self }, work) { (_) throws(LLaDAError) in }
    }

    /// Runs what sequences of one model have prepared, in forwards of a bounded number of rows: the second phase. A
    /// sequence without anything prepared is left out. `done` is called after each forward over active positions, with
    /// the indices of its sequences, which have their states then. After an error, some sequences have run and others
    /// have not.
    package static func run(
        _ count: Int, _ pending: (Int) -> Pending?, _ work: Workspace,
        done: (Range<Int>) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        var waiting = 0..<0  // the sequences in the forward that is being filled

        func flush(isLast: Bool) throws(LLaDAError) {
            if waiting.isEmpty { return }
            try forward(waiting, pending, work)
            let sequences = waiting
            waiting = 0..<0
            if isLast { try done(sequences) }
        }

        func add(_ index: Int, _ one: Pending, _ part: Part, isLast: Bool) throws(LLaDAError) {
            let most = Batch.mostRows(blockLength: one.sequence.blockLength)
            if work.batch.rows.count + part.rows > most { try flush(isLast: isLast) }
            waiting = (waiting.isEmpty ? index : waiting.lowerBound)..<index + 1
            if one.isDone { return }
            try work.batch.makeRoom(for: part.rows)
            try work.cancellations.makeRoom()
            one.sequence.begin(part, one.tokens, work)
        }

        for index in 0..<count {
            guard let one = pending(index) else { continue }
            var start = one.start
            // A sequence has at most one part in a forward: all its parts but the last fill theirs.
            while let part = one.ahead(from: start) {
                try add(index, one, part, isLast: false)
                start = part.positions.upperBound
            }
        }
        try flush(isLast: false)
        for index in 0..<count {
            guard let one = pending(index) else { continue }
            var start = one.start
            while let part = one.ahead(from: start) { start = part.positions.upperBound }
            try add(index, one, one.last(from: start), isLast: true)
        }
        try flush(isLast: true)
    }

    /// Runs the forward over the parts that these sequences have begun. Each gets the states of its rows that want
    /// logits.
    private static func forward(
        _ indices: Range<Int>, _ pending: (Int) -> Pending?, _ work: Workspace
    ) throws(LLaDAError) {
        var (rows, wanted, mostRows, longestRun, sequences) = (0, 0, 0, 0, 0)
        var running: CachedSequence?
        for index in indices {
            guard let sequence = pending(index)?.sequence else { continue }
            let room = sequence.room
            rows += room.rows
            wanted += room.wanted
            mostRows = max(mostRows, room.rows, Batch.mostRows(blockLength: sequence.blockLength))
            longestRun = max(longestRun, room.wanted)
            sequences += 1
            if sequence.isRunning { running = sequence }
        }
        guard let running else { return }  // all have run before
        mostRows = min(mostRows, rows)
        try work.batch.expect(
            rows: mostRows, wanted: min(mostRows, wanted), longestRun: longestRun, tables: 2 * indices.count)
        let observer = observer(indices, pending)
        // A sequence's own memory has room for its own rows.
        let isOwn = sequences == 1 && running.ownsAllStates
        let states = try running.denoiser.forward(
            work, observer: observer, into: isOwn ? running.ownMemory() : work.states)
        if isOwn { _ = try states.reserve(in: work.states, rows: min(mostRows, wanted)) }
        work.rowsDone += work.batch.rows.count
        work.clear()
        if observer != nil { try Reserve.check() }
        var start = 0
        for index in indices {
            guard let one = pending(index) else { continue }
            start = try one.sequence.took(states, from: start, one.tokens, isOwn: isOwn)
        }
    }

    /// Returns an observer of a forward: that of the first sequence that has one, and whoever watches. nil if there is
    /// none.
    private static func observer(_ indices: Range<Int>, _ pending: (Int) -> Pending?) -> Observer? {
        var observers: [Observer] = []
        for index in indices {
            if observers.isEmpty, let observer = pending(index)?.sequence.observer { observers.append(observer) }
        }
        for index in indices {
            if let observer = pending(index)?.sequence.watchObserver { observers.append(observer) }
        }
        return observers.isEmpty ? nil : Observer(observers)
    }
}
