import Kernels

/// The largest logit of a part of a row, and the sum of exp(logit - largest). The most likely token needs no more of a
/// softmax, and the peaks of several parts can be joined.
package struct Peak: BitwiseCopyable {
    var token: Int32
    var logit: Float
    var sum: Float

    /// Finds the peak of a part of a row.  row: [vocabulary.count], the logits of `vocabulary`
    init(_ row: UnsafePointer<Float>, _ vocabulary: Range<Int>, _ kernels: llk_kernels) {
        sum = 0
        let best = kernels.argmax_sum_exp(row, vocabulary.count, &sum)
        logit = row[best]
        token = Int32(vocabulary.lowerBound + best)
        if !(logit > -.infinity) {  // all are -inf or NaN; if only bans did that, another tile may have a larger one
            sum = (0..<vocabulary.count).contains { row[$0].isNaN } ? .nan : 0
            logit = -.infinity
        }
    }

    /// Joins the peaks of a whole row.  peaks: [tiles, rows]
    init(_ peaks: UnsafePointer<Peak>, tiles: Int, row: Int, of rows: Int) {
        self = peaks[row]
        for tile in 1..<max(tiles, 1) { join(peaks[tile * rows + row]) }
    }

    var isSound: Bool { logit > -.infinity }
    /// The softmax at the arg-max.
    var confidence: Float { isSound ? 1 / sum : .nan }
    var prediction: Int32 { isSound ? token : 0 }

    /// The softmax at the arg-max of the same row without some of its tokens.
    func probability(of other: Peak) -> Float { probability(of: other.logit) }

    /// The softmax at a logit of the row.
    func probability(of other: Float) -> Float { llk_expf(other - logit) / sum }

    /// Throws `.numeric` if a logit of the row is NaN or +inf, or if all are -inf: bans leave a token in every row.
    func check(position: Int) throws(LLaDAError) {
        if sum.isNaN || !isSound { throw Self.error(position: position) }
    }

    /// Throws `.numeric` if a logit of a whole row is NaN or infinite.  row: [count]
    static func check(_ row: UnsafePointer<Float>, _ count: Int, position: Int) throws(LLaDAError) {
        if !FiniteCheck.isFinite(row, LLK_F32, count) { throw error(position: position) }
    }

    /// An error about a row whose logits are not finite although its final states are.
    static func error(position: Int) -> LLaDAError {
        LLaDAError(
            .numeric,
            "the logits at position \(position) are NaN or infinite; expected finite ones: is lm_head.weight sound?")
    }

    /// Joins the peak of the next part. Sums are rescaled in the order of the parts, so the tiles affect the rounding.
    mutating func join(_ next: Peak) {
        if next.sum == 0 { return }  // all tokens of the part are banned
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
