import Kernels

/// A sum over pages in bf16. Queries and the values of exp are rounded to bf16 for the products. Scores, sums and the
/// softmax are f32. A value belongs to one thread.
///
/// exp is taken relative to the largest score so far, and results are divided by their sum at the end. Most tiles have
/// no larger score, and then the sums so far stay as they are (Dao et al., FlashAttention, 2022).
struct HalfSoftmaxSum: TileSum {
    let kernels: llk_attention_kernels
    let head: CachedHead
    /// The end of the keys that the queries attend to.
    let visibleEnd: Int
    private let scores: UnsafeMutablePointer<Float>  // [queryTile, keyTile]
    private let weights: UnsafeMutablePointer<UInt16>  // [queryTile, keyTile]
    private let norms: UnsafeMutablePointer<Norm>  // [queries]
    private let halves: UnsafeMutablePointer<UInt16>  // [queries, headDim]: the rounded queries

    /// The largest of the scores so far, and the sum of exp(score - largest).
    private struct Norm {
        var largest: Float = -.infinity
        var sum: Float = 0
    }

    /// Returns the floats of scratch for `queries` queries in all.
    static func size(keyTile: Int, headDim: Int, queries: Int) -> Int {
        Attention.queryTile * 2 * keyTile + 2 * queries + (queries * headDim + 1) / 2
    }

    init(
        _ head: CachedHead, _ kernels: llk_attention_kernels, visibleEnd: Int, queries: Int,
        scratch: UnsafeMutablePointer<Float>
    ) {
        self.head = head
        self.kernels = kernels
        self.visibleEnd = visibleEnd
        let tile = Attention.queryTile * head.keyTile
        scores = scratch
        weights = UnsafeMutableRawPointer(scratch + tile).assumingMemoryBound(to: UInt16.self)
        norms = UnsafeMutableRawPointer(scratch + 2 * tile).assumingMemoryBound(to: Norm.self)
        halves = UnsafeMutableRawPointer(norms + queries).assumingMemoryBound(to: UInt16.self)
    }

    func add(
        _ keys: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        let isFirst = keys.lowerBound == 0
        let (keyTile, headDim) = (head.keyTile, head.headDim)
        let halves = halves + index * headDim
        let norms = norms + index
        if isFirst {
            for row in 0..<rows {
                llk_f32_to_bf16(queries + row * stride, headDim, halves + row * headDim)
                norms[row] = Norm()
            }
        }
        head.eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                halves, headDim, rows, page.halfKeys(layer: head.layer, head: head.kvHead), head.blockLength, headDim,
                count,
                scores + first, keyTile, false,
                pageAfter(keys.lowerBound + first)?.halfKeys(layer: head.layer, head: head.kvHead))
        }
        for row in 0..<rows {
            let before = norms[row]
            var sum: Float = 0
            kernels.exponentials(
                scores + row * keyTile, keys.count, head.scale, &norms[row].largest, weights + row * keyTile, &sum)
            if isFirst {
                norms[row].sum = sum
            } else {
                let shrink = llk_expf(before.largest - norms[row].largest)
                norms[row].sum = before.sum * shrink + sum
                multiply(out + row * outStride, by: shrink)
            }
        }
        head.eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                weights + first, keyTile, rows, page.halfValues(layer: head.layer, head: head.kvHead), headDim, count,
                headDim,
                out, outStride, !isFirst || first > 0,
                pageAfter(keys.lowerBound + first)?.halfValues(layer: head.layer, head: head.kvHead))
        }
        if keys.upperBound == visibleEnd {
            for row in 0..<rows { multiply(out + row * outStride, by: 1 / norms[row].sum) }
        }
    }

    /// Returns the next page of this tile or of the next one. It is prefetched during the current product.
    private func pageAfter(_ position: Int) -> Page? {
        position + head.blockLength < visibleEnd ? head.table[position / head.blockLength + 1] : nil
    }

    /// Multiplies the result of one query.  out: [headDim]
    private func multiply(_ out: UnsafeMutablePointer<Float>, by factor: Float) {
        if factor == 1 { return }
        for dim in 0..<head.headDim { out[dim] *= factor }
    }
}
