import Kernels

/// A sum over pages in bf16. Queries and weights are rounded to bf16 for the products. Scores, sums and the softmax are
/// f32. A value belongs to one thread.
///
/// With log2(e) in their scale, scores are exponents of 2. Weights are taken relative to the largest score so far, and
/// results are divided by their sum at the end. Most tiles have no larger score, and then the sums so far stay as they
/// are (Dao et al., FlashAttention, 2022).
struct HalfSoftmaxSum: TileSum {
    let kernels: llk_attention_kernels
    let head: CachedHead
    /// The end of the keys that the queries attend to.
    let visibleEnd: Int
    /// The number of queries of all `add`s of a tile.
    private let queries: Int
    private let scores: UnsafeMutablePointer<Float>  // [queryTile, rowStride >= keyTile]
    private let weights: UnsafeMutablePointer<UInt16>  // [queryTile, rowStride >= keyTile]
    private let norms: UnsafeMutablePointer<BinaryNorm>  // [queries]
    private let sums: UnsafeMutablePointer<Float>  // [queries, headDim]: the results so far
    private let halves: UnsafeMutablePointer<UInt16>  // [queries, headDim]: the rounded queries
    // Of the pages of a tile and of the next one: [2 * keyTile / blockLength]
    private let keys: UnsafeMutablePointer<UnsafePointer<UInt16>?>
    private let values: UnsafeMutablePointer<UnsafePointer<UInt16>?>

    /// Returns the floats of scratch for `queries` queries in all, and tiles of `pages` pages.
    static func size(keyTile: Int, pages: Int, headDim: Int, queries: Int) -> Int {
        let floats = Attention.queryTile * 2 * rowStride(keyTile) + 2 * queries * (headDim + 1) + 8 * pages + 8
        return (floats + 15) / 16 * 16  // whole cache lines
    }

    init(
        _ head: CachedHead, _ kernels: llk_attention_kernels, visibleEnd: Int, queries: Int,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.head = head
        self.kernels = kernels
        self.visibleEnd = visibleEnd
        self.queries = queries
        let tile = Attention.queryTile * Self.rowStride(head.keyTile)
        let pages = 2 * head.keyTile / head.blockLength
        scores = scratch
        weights = UnsafeMutableRawPointer(scratch + tile).assumingMemoryBound(to: UInt16.self)
        sums = scratch + 2 * tile
        halves = UnsafeMutableRawPointer(sums + queries * head.headDim).assumingMemoryBound(to: UInt16.self)
        let rest = UnsafeMutableRawPointer(halves + queries * head.headDim)
        norms = rest.alignedUp(for: BinaryNorm.self).assumingMemoryBound(to: BinaryNorm.self)
        keys = UnsafeMutableRawPointer(norms + queries).alignedUp(for: UnsafeRawPointer.self)
            .assumingMemoryBound(to: UnsafePointer<UInt16>?.self)
        values = keys + pages
    }

    func begin(_ tile: Range<Int>) {
        for (index, first) in stride(
            from: tile.lowerBound, to: min(tile.lowerBound + 2 * head.keyTile, visibleEnd), by: head.blockLength
        ).enumerated() {
            let page = head.table[first / head.blockLength]
            keys[index] = UnsafePointer(page.halfKeys(layer: head.layer, head: head.kvHead))
            values[index] = UnsafePointer(page.halfValues(layer: head.layer, head: head.kvHead))
        }
    }

    func add(
        _ tile: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        let isFirst = tile.lowerBound == 0
        let (rowStride, headDim, blockLength) = (Self.rowStride(head.keyTile), head.headDim, head.blockLength)
        let (halves, sums, norms) = (halves + index * headDim, sums + index * headDim, norms + index)
        if isFirst {
            for row in 0..<rows {
                llk_f32_to_bf16(queries + row * stride, headDim, halves + row * headDim)
                norms[row] = BinaryNorm()
            }
        }
        for first in Swift.stride(from: 0, to: tile.count, by: blockLength) {
            let ahead = head.ahead(tile, first / blockLength, rows, index, of: self.queries, visibleEnd) {
                keys[$0].map { UnsafeRawPointer($0) }
            }
            kernels.weighted_sum(
                halves, headDim, rows, keys + first / blockLength, blockLength, headDim, headDim,
                min(blockLength, tile.count - first), scores + first, rowStride, false, ahead.baseAddress, ahead.count)
        }
        let scale = head.scale * 0x1.715476p+0  // log2(e)
        for row in 0..<rows {
            let before = norms[row]
            var sum: Float = 0
            kernels.exponentials(
                scores + row * rowStride, tile.count, scale, &norms[row].largest, weights + row * rowStride, &sum)
            if isFirst {
                norms[row].sum = sum
            } else {
                let shrink = llk_exp2f(before.largest - norms[row].largest)
                norms[row].sum = before.sum * shrink + sum
                if shrink != 1 { for dim in row * headDim..<(row + 1) * headDim { sums[dim] *= shrink } }
            }
        }
        kernels.weighted_sum(
            weights, rowStride, rows, values, headDim, blockLength, tile.count, headDim, sums, headDim, !isFirst, nil, 0
        )
        if tile.upperBound == visibleEnd {
            for row in 0..<rows {
                let factor = 1 / norms[row].sum
                let (sum, result) = (sums + row * headDim, out + row * outStride)
                for dim in 0..<headDim { result[dim] = sum[dim] * factor }
            }
        }
    }
}
