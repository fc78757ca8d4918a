/// Which rank of a cluster finds the peaks of which tiles of the vocabulary: consecutive ones, by rank. Rank 0 holds
/// the whole head nevertheless: what asks for logits themselves, or for adjusted ones, is judged there.
package struct HeadPlacement: Sendable {
    private let vocabSize: Int
    /// The first tile of each rank, and the number of tiles.
    package let starts: [Int]  // [size + 1]

    /// The number of tokens of a tile; the last may have fewer. Sums of a softmax are joined by tiles, so results
    /// depend on it.
    package static let tile = 512

    /// Places tiles in shares, by rank; equal ones if there are none. All are rank 0's if there are fewer than ranks,
    /// or unless `isShared`.
    package init(vocabSize: Int, size: Int, shares: [Double], isShared: Bool) {
        let tiles = (vocabSize + Self.tile - 1) / Self.tile
        let isShared = isShared && tiles >= size
        var (before, total) = (0.0, 0.0)
        for rank in 0..<size { total += shares.isEmpty ? 1 : shares[rank] }
        var starts = [0]
        for rank in 0..<size {
            before += shares.isEmpty ? 1 : shares[rank]
            let isAll = rank == size - 1 || !isShared
            starts.append(isAll ? tiles : min(tiles, Int((Double(tiles) * before / total).rounded())))
        }
        self.vocabSize = vocabSize
        self.starts = starts
    }

    /// Makes the placement with these first tiles; nil if they are none.
    package init?(checking starts: [Int], vocabSize: Int) {
        guard starts.count > 1, starts[0] == 0, starts[starts.count - 1] == (vocabSize + Self.tile - 1) / Self.tile
        else { return nil }
        for rank in 1..<starts.count where starts[rank] < starts[rank - 1] { return nil }
        self.vocabSize = vocabSize
        self.starts = starts
    }

    package var size: Int { starts.count - 1 }
    package var tiles: Int { starts[starts.count - 1] }
    package func tiles(of rank: Int) -> Range<Int> { starts[rank]..<starts[rank + 1] }

    package func vocabulary(ofTile tile: Int) -> Range<Int> {
        tile * Self.tile..<min((tile + 1) * Self.tile, vocabSize)
    }

    package func vocabulary(of rank: Int) -> Range<Int> {
        min(starts[rank] * Self.tile, vocabSize)..<min(starts[rank + 1] * Self.tile, vocabSize)
    }
}
