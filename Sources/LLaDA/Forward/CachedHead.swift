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
}
