/// Logits of the rows of a forward.
package protocol LogitSource {
    var vocabSize: Int { get }

    /// A stretch of the logits of some of the rows; several threads may ask at once.
    /// out: [rows.count, stride >= vocabulary.count]
    func logits(_ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int)
}

extension LogitSource {
    /// Tokens of the vocabulary whose logits are computed, and judged, together, while they are in cache.
    package static var tile: Int { 512 }

    package var tiles: Int { (vocabSize + Self.tile - 1) / Self.tile }

    package func vocabulary(ofTile index: Int) -> Range<Int> { index * Self.tile..<min((index + 1) * Self.tile, vocabSize) }

    /// All logits of so many rows.  out: [rows, vocab]
    package func allLogits(rows: Int, _ team: ThreadTeam, into out: UnsafeMutablePointer<Float>) {
        team.forEach(tiles) { index, _ in
            let range = vocabulary(ofTile: index)
            logits(0..<rows, range, into: out + range.lowerBound, stride: vocabSize)
        }
    }
}

/// All that decoding knows of a model: logits for the active positions of a canvas, the rows of its last forward. Policies
/// are tested on scripts.
package protocol Denoiser: AnyObject, LogitSource {
    /// Runs the model over tokens[active], given all before; with `asOneBlock` the active positions, of several blocks, see
    /// each other. Returns how many forwards over earlier positions went ahead of it.
    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) throws(LLaDAError) -> Int

    /// Decoding has ended; the first `settled` tokens are final.
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int)

    /// Forgets what it has cached, all but the last forward.
    func reset()

    /// Another one that is where this one is.
    func fork(_ cancellation: Cancellation) -> any Denoiser

    /// Positions that were run through the model, and those whose keys and values others had computed before.
    var computedPositions: Int { get }
    var reusedPositions: Int { get }
}
