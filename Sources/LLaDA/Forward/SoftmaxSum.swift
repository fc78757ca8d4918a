import Kernels

/// softmax(q k^T / sqrt(headDim)) v of one head, grown tile by tile of the keys.
protocol TileSum {
    var pages: [Page] { get }
    var blockLength: Int { get }

    /// Takes a tile of keys in, for up to queryTile queries that are number `index` and the following. The first tile writes
    /// `out`, the others go on from it.  queries: [rows, stride >= headDim];  out: [rows, outStride >= headDim]
    func add(
        _ keys: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int)
}

extension TileSum {
    /// `first`: the place of the page's keys in the tile.
    func eachPage(of keys: Range<Int>, _ body: (_ page: Page, _ first: Int, _ count: Int) -> Void) {
        for first in Swift.stride(from: keys.lowerBound, to: keys.upperBound, by: blockLength) {
            body(pages[first / blockLength], first - keys.lowerBound, min(blockLength, keys.upperBound - first))
        }
    }
}

/// Over pages in f32. Belongs to one thread.
struct SoftmaxSum: TileSum {
    let kernels: llk_kernels
    let headDim: Int
    let layer: Int
    let kvHead: Int
    let pages: [Page]
    let blockLength: Int
    let keyTile: Int
    private let scores: UnsafeMutablePointer<Float>  // [queryTile, keyTile]
    private let partial: UnsafeMutablePointer<Float>  // [queryTile, headDim]
    private let fresh: UnsafeMutablePointer<Norm>  // [queryTile]: of the keys of this tile
    private let norms: UnsafeMutablePointer<Norm>  // [queries]: of all keys so far

    /// What a softmax was divided by: the sum of exp(z - largest).
    private struct Norm {
        var largest: Float = 0
        var sum: Float = 0
    }

    /// Floats of scratch for so many queries in all.
    static func size(keyTile: Int, headDim: Int, queries: Int) -> Int {
        Attention.queryTile * (keyTile + headDim + 2) + 2 * queries
    }

    init(
        kernels: llk_kernels, headDim: Int, layer: Int, kvHead: Int, pages: [Page], blockLength: Int, keyTile: Int,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.kernels = kernels
        self.headDim = headDim
        self.layer = layer
        self.kvHead = kvHead
        self.pages = pages
        self.blockLength = blockLength
        self.keyTile = keyTile
        scores = scratch
        partial = scores + Attention.queryTile * keyTile
        fresh = UnsafeMutableRawPointer(partial + Attention.queryTile * headDim).assumingMemoryBound(to: Norm.self)
        norms = fresh + Attention.queryTile
    }

    func add(
        _ keys: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                queries, stride, rows, page.keys(layer: layer, head: kvHead), blockLength, headDim, count, scores + first,
                keyTile, false)
        }
        let isFirst = keys.lowerBound == 0
        let norms = isFirst ? norms + index : fresh
        let scale = 1 / Float(headDim).squareRoot()
        for row in 0..<rows {
            var norm = Norm()
            kernels.softmax(scores + row * keyTile, keys.count, scale, &norm.largest, &norm.sum)
            norms[row] = norm
        }
        let (sums, sumsStride) = isFirst ? (out, outStride) : (partial, headDim)
        eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                scores + first, keyTile, rows, page.values(layer: layer, head: kvHead), headDim, count, headDim, sums,
                sumsStride, first > 0)
        }
        if !isFirst {
            for row in 0..<rows { join(index + row, row, out + row * outStride) }
        }
    }

    /// out = the mean of itself and of this tile's result, each weighing what its norm says.
    private func join(_ index: Int, _ row: Int, _ out: UnsafeMutablePointer<Float>) {
        let (old, new) = (norms[index], fresh[row])
        let largest = max(old.largest, new.largest)
        let before = old.sum * llk_expf(old.largest - largest)
        let now = new.sum * llk_expf(new.largest - largest)
        let sum = before + now
        norms[index] = Norm(largest: largest, sum: sum)
        let result = partial + row * headDim
        for dim in 0..<headDim { out[dim] = out[dim] * (before / sum) + result[dim] * (now / sum) }
    }
}
