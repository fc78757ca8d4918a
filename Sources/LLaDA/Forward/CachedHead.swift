/// The keys and values of one head of one layer, over the pages of a sequence, and in which tiles they are taken.
struct CachedHead {
    let headDim: Int
    let layer: Int
    let kvHead: Int
    let table: PageTable
    /// Keys of a tile, in whole blocks.
    let keyTile: Int

    var blockLength: Int { table.blockLength }
    /// What scores are multiplied with.
    var scale: Float { 1 / Float(headDim).squareRoot() }

    /// `first`: the place of the page's keys in the tile.
    func eachPage(of keys: Range<Int>, _ body: (_ page: Page, _ first: Int, _ count: Int) -> Void) {
        for first in stride(from: keys.lowerBound, to: keys.upperBound, by: blockLength) {
            body(table.pages[first / blockLength], first - keys.lowerBound, min(blockLength, keys.upperBound - first))
        }
    }
}
