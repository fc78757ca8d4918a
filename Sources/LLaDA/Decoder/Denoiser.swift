/// All that decoding knows of a model: logits for the active positions of a canvas. Policies are tested on scripts.
package protocol Denoiser: AnyObject {
    var vocabSize: Int { get }

    /// Runs the model over tokens[active], given all before; with `asOneBlock` the active positions, of several blocks, see
    /// each other. Returns how many forwards over earlier positions went ahead of it.
    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) throws(LLaDAError) -> Int

    /// A stretch of the logits of the last forward's positions; several threads may ask at once.
    /// out: [active.count, stride >= vocabulary.count]
    func logits(_ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int)

    /// Forgets what it has cached.
    func reset()
}

extension Denoiser {
    /// Tokens of the vocabulary whose logits are computed, and judged, together, while they are in cache.
    package static var tile: Int { 512 }

    package var tiles: Int { (vocabSize + Self.tile - 1) / Self.tile }

    package func vocabulary(ofTile index: Int) -> Range<Int> { index * Self.tile..<min((index + 1) * Self.tile, vocabSize) }

    /// All logits of the last forward.  out: [active.count, vocab]
    package func allLogits(_ team: ThreadTeam, into out: UnsafeMutablePointer<Float>) {
        team.forEach(tiles) { index, _ in
            let range = vocabulary(ofTile: index)
            logits(range, into: out + range.lowerBound, stride: vocabSize)
        }
    }
}
