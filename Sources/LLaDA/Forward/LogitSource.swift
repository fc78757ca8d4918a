/// A source of the logits of the rows of a forward.
package protocol LogitSource {
    var vocabSize: Int { get }

    /// Computes a range of the logits of some of the rows. Several threads may call it at once.
    /// out: [rows.count, stride >= vocabulary.count]
    func logits(_ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int)

    /// Calls `here` to judge the tiles that it is given, or all if that is nil. Other ranks of a cluster find the peaks
    /// of the rest meanwhile: tiles without an adjusted token.  adjust: [rows]; peaks: [tiles, rows]
    func findPeaks(
        _ adjust: [LogitAdjustment], room: Int, into peaks: UnsafeMutablePointer<Peak>,
        here: (UnsafeBufferPointer<Int>?) throws(LLaDAError) -> Void
    ) throws(LLaDAError)
}

extension LogitSource {
    package func findPeaks(
        _ adjust: [LogitAdjustment], room: Int, into peaks: UnsafeMutablePointer<Peak>,
        here: (UnsafeBufferPointer<Int>?) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        try here(nil)
    }
}

extension LogitSource {
    /// The numbers of tokens and rows whose logits are computed and judged together: they fit the cache of a core.
    private static var tile: Int { HeadPlacement.tile }
    private static var rowsAtATime: Int { 64 }

    package var tiles: Int { (vocabSize + Self.tile - 1) / Self.tile }

    package func vocabulary(ofTile index: Int) -> Range<Int> {
        index * Self.tile..<min((index + 1) * Self.tile, vocabSize)
    }

    /// Computes all logits of the first `rows` rows. `progress` receives the part done, often enough to stop at once.
    /// out: [rows, vocab]
    package func allLogits(
        rows: Int, _ team: ThreadTeam, into out: UnsafeMutablePointer<Float>, progress: Progress? = nil
    ) throws(LLaDAError) {
        // With the vocabulary of LLaDA2.x, some tenths of a second on two cores.
        let piece = team.size * max(1, 8 * Self.tile / max(rows, 1))
        for first in stride(from: 0, to: tiles, by: piece) {
            let count = min(piece, tiles - first)
            team.forEach(count) { index, _ in
                let range = vocabulary(ofTile: first + index)
                logits(0..<rows, range, into: out + range.lowerBound, stride: vocabSize)
            }
            try progress?(Double(first + count) / Double(tiles))
        }
    }

    /// Calls `judge` with every tile of every row on the thread that computed it, so that no whole row is ever held.
    /// `judge` receives the tile, the row, the worker, the tile's logits, [vocabulary(ofTile:).count], which it may
    /// change, and `spare` times as much free memory. `chosen` are the tiles; nil: all. The scratch gets room for
    /// `room` rows. Once `isStopped` returns true, the remaining tiles are left out.
    func forEachTile(
        rows: Int, room: Int = 0, of chosen: UnsafeBufferPointer<Int>? = nil, _ team: ThreadTeam,
        _ scratch: inout Scratch<Float>, spare: Int = 0,
        isStopped: () -> Bool = { false },
        _ judge: (
            _ tile: Int, _ row: Int, _ worker: Int, _ logits: UnsafeMutablePointer<Float>,
            _ spare: UnsafeMutablePointer<Float>
        ) -> Void
    ) throws(LLaDAError) {
        let width = min(Self.tile, vocabSize)
        let piece = min(rows, Self.rowsAtATime)
        // [threads, rows at a time + spare, tile]
        let mostPiece = min(max(rows, room), Self.rowsAtATime)
        let scratch = try scratch.reserve(team.size * (mostPiece + spare) * width)
        if rows == 0 { return }
        team.forEach(chosen?.count ?? tiles) { index, worker in
            if isStopped() { return }
            let tile = chosen?[index] ?? index
            let logits = scratch + worker * (piece + spare) * width
            for first in stride(from: 0, to: rows, by: piece) {
                let range = first..<min(first + piece, rows)
                self.logits(range, vocabulary(ofTile: tile), into: logits, stride: width)
                for row in range {
                    judge(tile, row, worker, logits + (row - first) * width, logits + piece * width)
                }
            }
        }
    }
}

/// Logits of rows that are at hand.
struct StoredLogits: LogitSource, @unchecked Sendable {  // read only
    let values: UnsafePointer<Float>  // [rows, vocab]
    let vocabSize: Int

    /// Returns those of some of the rows.
    func slice(_ rows: Range<Int>) -> StoredLogits {
        StoredLogits(values: values + rows.lowerBound * vocabSize, vocabSize: vocabSize)
    }

    func logits(_ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        for (index, row) in rows.enumerated() {
            (out + index * stride).update(
                from: values + row * vocabSize + vocabulary.lowerBound, count: vocabulary.count)
        }
    }
}
