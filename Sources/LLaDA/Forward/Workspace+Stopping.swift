/// How a forward is stopped on its way: by a request of another thread, or by a callback.
extension Workspace {
    /// The multiply-adds of a thread between two checks: some tenths of a second.
    private static let mostOperations = 1 << 33

    /// Reports to `progress` from here on how much of `rows` rows is done: at most once in `interval` nanoseconds.
    package func report(to progress: Progress?, rows: Int, interval: UInt64) {
        self.progress = progress
        (rowsDone, rowsToDo) = (0, rows)
        reportInterval = interval
        lastReport = progress == nil ? 0 : MonotonicClock.now
    }

    /// Throws `.cancelled` if one of the cancellations was requested, and what `progress` throws. `share` of the layer
    /// is done, 0 to 1.
    package func checkStop(_ share: Double = 0) throws(LLaDAError) {
        if !isStoppable { return }
        try Cancellation.check(cancellations)
        guard let progress else { return }
        let now = MonotonicClock.now
        if now &- lastReport < reportInterval { return }
        lastReport = now
        let rows = Double(rowsDone) + Double(batch.rows.count) * (Double(layer.index) + share) / Double(layer.count)
        if rows > 0 { try progress(min(1, rows / Double(max(rowsToDo, 1)))) }
    }

    /// Runs a loop of the team, of so many multiply-adds, in as many pieces as it takes to be stopped in time. It is
    /// the part `share` of the layer.
    func forEach(
        _ count: Int, operations: Int, share: ClosedRange<Double>, _ team: ThreadTeam, _ body: ThreadTeam.Body
    ) throws(LLaDAError) {
        let pieces = max(1, min(count / team.size, operations / team.size / Self.mostOperations + 1))
        // A piece has as many tasks for each thread, so that none waits at its end.
        let rounds = (count + team.size - 1) / team.size
        func end(_ piece: Int) -> Int { min(count, piece * rounds / pieces * team.size) }
        for piece in 0..<pieces {
            let part = Double(piece) / Double(pieces)
            if piece > 0 { try checkStop(share.lowerBound + part * (share.upperBound - share.lowerBound)) }
            let first = end(piece)
            team.forEach(end(piece + 1) - first) { index, worker in body(first + index, worker) }
        }
    }
}
