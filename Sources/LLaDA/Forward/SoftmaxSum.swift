import Kernels

/// The result softmax(q k^T / sqrt(headDim)) v of one head, summed tile by tile of the keys.
protocol TileSum {
    /// Begins a tile of keys.
    func begin(_ tile: Range<Int>)

    /// Adds a tile of keys, for up to queryTile queries; `index` is the number of the first. The first tile writes
    /// `out`, and each later tile continues from it.  queries: [rows, stride >= headDim];
    /// out: [rows, outStride >= headDim]
    func add(
        _ keys: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int)
}

extension TileSum {
    /// Returns the elements between two rows of scores. Rows that are a power of 2 apart share few places of a cache.
    static func rowStride(_ keyTile: Int) -> Int { keyTile + 32 }
}

/// The divisor of a softmax whose scores are exponents of 2: the largest so far, and the sum of 2^(score - largest).
struct BinaryNorm {
    var largest: Float = -.infinity
    var sum: Float = 0
}

/// A sum over pages in f32. A value belongs to one thread.
struct SoftmaxSum: TileSum {
    let kernels: llk_kernels
    let head: CachedHead
    private let scores: UnsafeMutablePointer<Float>  // [queryTile, keyTile]
    private let partial: UnsafeMutablePointer<Float>  // [queryTile, headDim]
    private let fresh: UnsafeMutablePointer<Norm>  // [queryTile]: over the keys of this tile
    private let norms: UnsafeMutablePointer<Norm>  // [queries]: over all keys so far

    /// The divisor of a softmax: the largest z, and the sum of exp(z - largest).
    private struct Norm {
        var largest: Float = 0
        var sum: Float = 0
    }

    /// Returns the floats of scratch for `queries` queries in all.
    static func size(keyTile: Int, headDim: Int, queries: Int) -> Int {
        Attention.queryTile * (keyTile + headDim + 2) + 2 * queries
    }

    init(_ head: CachedHead, _ kernels: llk_kernels, scratch: UnsafeMutablePointer<Float>) {
        self.head = head
        self.kernels = kernels
        scores = scratch
        partial = scores + Attention.queryTile * head.keyTile
        fresh = UnsafeMutableRawPointer(partial + Attention.queryTile * head.headDim).assumingMemoryBound(to: Norm.self)
        norms = fresh + Attention.queryTile
    }

    func begin(_ tile: Range<Int>) {}

    func add(
        _ keys: Range<Int>, _ queries: UnsafePointer<Float>, stride: Int, rows: Int, index: Int,
        to out: UnsafeMutablePointer<Float>, stride outStride: Int
    ) {
        let (keyTile, headDim) = (head.keyTile, head.headDim)
        head.eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                queries, stride, rows, page.keys(layer: head.layer, head: head.kvHead), head.blockLength, headDim,
                count,
                scores + first, keyTile, false)
        }
        let isFirst = keys.lowerBound == 0
        let norms = isFirst ? norms + index : fresh
        for row in 0..<rows {
            var norm = Norm()
            kernels.softmax(scores + row * keyTile, keys.count, head.scale, &norm.largest, &norm.sum)
            norms[row] = norm
        }
        let (sums, sumsStride) = isFirst ? (out, outStride) : (partial, headDim)
        head.eachPage(of: keys) { page, first, count in
            kernels.weighted_sum(
                scores + first, keyTile, rows, page.values(layer: head.layer, head: head.kvHead), headDim, count,
                headDim,
                sums, sumsStride, first > 0)
        }
        if !isFirst {
            for row in 0..<rows { join(index + row, row, out + row * outStride) }
        }
    }

    /// Replaces `out` by the mean of itself and this tile's result, weighted by their norms.
    private func join(_ index: Int, _ row: Int, _ out: UnsafeMutablePointer<Float>) {
        let (old, new) = (norms[index], fresh[row])
        let largest = max(old.largest, new.largest)
        let before = old.sum * llk_expf(old.largest - largest)
        let now = new.sum * llk_expf(new.largest - largest)
        let sum = before + now
        norms[index] = Norm(largest: largest, sum: sum)
        let result = partial + row * head.headDim
        for dim in 0..<head.headDim { out[dim] = out[dim] * (before / sum) + result[dim] * (now / sum) }
    }
}
