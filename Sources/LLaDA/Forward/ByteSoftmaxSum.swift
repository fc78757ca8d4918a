import Kernels

/// A sum over pages in int8. Queries are rounded to integers of 8 bits, as keys and values are, with a scale each, and
/// weights to 255ths of the largest weight of a tile. Integers are summed exactly; scores, sums and the softmax are
/// f32. A value belongs to one thread.
///
/// The scale of a position's values is a power of 2, and a term of its score. So the weight that is rounded is what the
/// position counts for in the result. Tiles are small, so that a position that outweighs all others takes the precision
/// of its neighbours alone.
struct ByteSoftmaxSum: TileSum {
    let kernels: llk_byte_attention_kernels
    let head: CachedHead
    /// The end of the keys that the queries attend to.
    let visibleEnd: Int
    /// The number of queries of all `add`s of a tile.
    private let queries: Int
    private let scores: UnsafeMutablePointer<Float>  // [queryTile, rowStride >= keyTile]
    private let weights: UnsafeMutablePointer<UInt8>  // [queryTile, 4 * rowStride]
    private let sums: UnsafeMutablePointer<Float>  // [queries, headDim]: the results so far
    private let inverses: UnsafeMutablePointer<Float>  // [keyTile]: of the scales of the values
    private let factors: UnsafeMutablePointer<Float>  // [queryTile]: of the sums of this tile
    private let norms: UnsafeMutablePointer<BinaryNorm>  // [queries]
    private let rounded: UnsafeMutablePointer<llk_byte_query>  // [queries]
    private let pieces: UnsafeMutablePointer<llk_byte_piece>  // [2 * keyTile / blockLength]: of this tile and the next
    private let bytes: UnsafeMutablePointer<Int8>  // [queries, quads * 4]: the rounded queries

    /// Returns the floats of scratch for `queries` queries in all, and tiles of `pages` pages.
    static func size(keyTile: Int, pages: Int, headDim: Int, queries: Int) -> Int {
        let structs = queries * MemoryLayout<llk_byte_query>.stride + 2 * pages * MemoryLayout<llk_byte_piece>.stride
        let floats =
            Attention.queryTile * (2 * rowStride(keyTile) + 1) + queries * (headDim + 2 + (headDim + 3) / 4) + keyTile
        return (floats + structs / MemoryLayout<Float>.size + 8 + 15) / 16 * 16  // whole cache lines
    }

    init(
        _ head: CachedHead, _ kernels: llk_byte_attention_kernels, visibleEnd: Int, queries: Int,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.head = head
        self.kernels = kernels
        self.visibleEnd = visibleEnd
        self.queries = queries
        let tile = Attention.queryTile * Self.rowStride(head.keyTile)
        scores = scratch
        weights = UnsafeMutableRawPointer(scratch + tile).assumingMemoryBound(to: UInt8.self)
        sums = scratch + 2 * tile
        inverses = sums + queries * head.headDim
        factors = inverses + head.keyTile
        let rest = UnsafeMutableRawPointer(factors + Attention.queryTile)
        norms = rest.alignedUp(for: BinaryNorm.self).assumingMemoryBound(to: BinaryNorm.self)
        rounded = UnsafeMutableRawPointer(norms + queries).alignedUp(for: llk_byte_query.self)
            .assumingMemoryBound(to: llk_byte_query.self)
        pieces = UnsafeMutableRawPointer(rounded + queries).alignedUp(for: llk_byte_piece.self)
            .assumingMemoryBound(to: llk_byte_piece.self)
        bytes = UnsafeMutableRawPointer(pieces + 2 * head.keyTile / head.blockLength)
            .assumingMemoryBound(to: Int8.self)
    }

    func begin(_ tile: Range<Int>) {
        for (index, first) in stride(
            from: tile.lowerBound, to: min(tile.lowerBound + 2 * head.keyTile, visibleEnd), by: head.blockLength
        ).enumerated() {
            let page = head.table[first / head.blockLength].bytes(layer: head.layer, head: head.kvHead)
            pieces[index] = page.piece
            if first < tile.upperBound {
                let count = min(head.blockLength, tile.upperBound - first)
                (inverses + first - tile.lowerBound).update(from: page.inverses, count: count)
            }
        }
    }

    func add(
        _ tile: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        let (rowStride, headDim, blockLength) = (Self.rowStride(head.keyTile), head.headDim, head.blockLength)
        let (rounded, sums, norms) = (rounded + index, sums + index * headDim, norms + index)
        if tile.lowerBound == 0 {
            round(queries, stride, rows, index)
            sums.update(repeating: 0, count: rows * headDim)
            norms.update(repeating: BinaryNorm(), count: rows)
        }
        for first in Swift.stride(from: 0, to: tile.count, by: blockLength) {
            let page = first / blockLength
            let ahead = head.ahead(tile, page, rows, index, of: self.queries, visibleEnd) {
                UnsafeRawPointer(pieces[$0].keys)
            }
            kernels.scores(
                rounded, rows, pieces + page, blockLength, headDim, min(blockLength, tile.count - first),
                scores + first, rowStride, ahead.baseAddress, ahead.count)
        }
        for row in 0..<rows {
            let before = norms[row]
            var (most, sum): (Float, Float) = (0, 0)
            kernels.weights(
                scores + row * rowStride, inverses, tile.count, &most, weights + row * 4 * rowStride, &sum)
            let largest = max(before.largest, most)
            let (shrink, factor) = (llk_exp2f(before.largest - largest), llk_exp2f(most - largest))
            norms[row] = BinaryNorm(largest: largest, sum: before.sum * shrink + sum * factor)
            factors[row] = factor
            if shrink != 1 { for dim in row * headDim..<(row + 1) * headDim { sums[dim] *= shrink } }
        }
        kernels.weighted_sum(
            weights, 4 * rowStride, rows, pieces, blockLength, tile.count, headDim, factors, sums, headDim)
        if tile.upperBound == visibleEnd {
            for row in 0..<rows {
                let factor = 1 / (255 * norms[row].sum)
                let (sum, result) = (sums + row * headDim, out + row * outStride)
                for dim in 0..<headDim { result[dim] = sum[dim] * factor }
            }
        }
    }

    /// Rounds queries. Their factors take the scale of scores, and log2(e): scores are exponents of 2.
    private func round(_ queries: UnsafePointer<Float>, _ stride: Int, _ rows: Int, _ index: Int) {
        let width = (head.headDim + 3) / 4 * 4
        for row in 0..<rows {
            let q = bytes + (index + row) * width
            (q + width - 4).update(repeating: 0, count: 4)
            var sum: Int32 = 0
            let scale = llk_to_bytes(queries + row * stride, head.headDim, q, &sum)
            rounded[index + row] = llk_byte_query(q: q, factor: scale * head.scale * 0x1.715476p+0, offset: -128 * sum)
        }
    }
}
