import Kernels

/// The largest logit of a stretch of a row, and the sum of exp(logit - largest): all of a softmax that its most likely
/// token needs, and that can be joined over stretches.
struct Peak {
    var token: Int32
    var logit: Float
    var sum: Float

    /// row: logits of `vocabulary`
    init(_ row: UnsafePointer<Float>, _ vocabulary: Range<Int>, _ kernels: llk_kernels) {
        sum = 0
        let best = kernels.argmax_sum_exp(row, vocabulary.count, &sum)
        logit = row[best]
        token = Int32(vocabulary.lowerBound + best)
        if !(logit > -.infinity) {  // all are -inf or NaN: if only bans did that, another tile may have better
            sum = (0..<vocabulary.count).contains { row[$0].isNaN } ? .nan : 0
            logit = -.infinity
        }
    }

    /// Of a whole row.  peaks: [tiles, rows]
    init(_ peaks: UnsafePointer<Peak>, tiles: Int, row: Int, of rows: Int) {
        self = peaks[row]
        for tile in 1..<max(tiles, 1) { join(peaks[tile * rows + row]) }
    }

    var isSound: Bool { logit > -.infinity }
    /// Softmax at the arg-max.
    var confidence: Float { isSound ? 1 / sum : .nan }
    var prediction: Int32 { isSound ? token : 0 }

    /// Takes over the next stretch. Sums are rescaled in the order of stretches, so tiles are part of the result.
    private mutating func join(_ next: Peak) {
        if next.sum == 0 { return }  // nothing but bans
        if sum == 0 {
            self = next
        } else if next.logit > logit {
            sum = next.sum + sum * llk_expf(logit - next.logit)
            (token, logit) = (next.token, next.logit)
        } else {
            sum += next.sum * llk_expf(next.logit - logit)
        }
    }
}
