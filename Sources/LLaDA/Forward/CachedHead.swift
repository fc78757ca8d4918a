/// The keys and values of one head of one layer in the pages of a sequence, and the tiles in which they are taken.
struct CachedHead {
    let headDim: Int
    let layer: Int
    let kvHead: Int
    let table: PageTable
    /// The number of keys of a tile: whole blocks.
    let keyTile: Int

    var blockLength: Int { table.blockLength }
    /// The bytes of the keys and values of this head in a page.
    var bytesOfPage: Int { table[0].bytesOfHead }
    /// The factor of scores.
    var scale: Float { 1 / Float(headDim).squareRoot() }

    /// Calls `body` with each page of `keys`: the page, the index of its first key in the tile, and its number of keys.
    func eachPage(of keys: Range<Int>, _ body: (_ page: Page, _ first: Int, _ count: Int) -> Void) {
        for first in stride(from: keys.lowerBound, to: keys.upperBound, by: blockLength) {
            body(table[first / blockLength], first - keys.lowerBound, min(blockLength, keys.upperBound - first))
        }
    }

    /// Returns what is prefetched while queries `index` ..< `index + rows`, of so many, meet a page of a tile: a share
    /// of a page of the next tile, or, where there is no tile before that could do it, all of the page after this one.
    /// `start` has the beginnings of the pages of both tiles.
    func ahead(
        _ tile: Range<Int>, _ page: Int, _ rows: Int, _ index: Int, of queries: Int, _ visibleEnd: Int,
        _ start: (Int) -> UnsafeRawPointer?
    ) -> UnsafeRawBufferPointer {
        let begins = tile.lowerBound == 0 && index == 0 || rows == queries
        let next = begins ? page + 1 : page + keyTile / blockLength
        guard tile.lowerBound + next * blockLength < visibleEnd, let start = start(next) else {
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        let bytes = bytesOfPage
        if begins { return UnsafeRawBufferPointer(start: start, count: bytes) }
        let done = tile.lowerBound == 0 ? rows : 0  // by these, the tile itself was prefetched
        let share = (index - done) * bytes / (queries - done)..<(index - done + rows) * bytes / (queries - done)
        return UnsafeRawBufferPointer(start: start + share.lowerBound, count: share.count)
    }
}
