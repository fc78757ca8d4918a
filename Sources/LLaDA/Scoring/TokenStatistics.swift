import Kernels

/// From logits to what is asked of a distribution: the probability of a given token, the most likely one, the entropy. No
/// row of logits is ever held: each tile of them is judged where it was computed.
struct TokenStatistics {
    let compute: Compute
    let wantsEntropy: Bool

    private var tileScratch = Scratch<Float>()  // [threads, rows at a time + 2, tile]
    private var peakScratch = Scratch<Peak>()  // [tiles, rows]
    private var weightedScratch = Scratch<Float>()  // [tiles, rows]
    private var targetScratch = Scratch<Float>()  // [rows]

    init(compute: Compute, wantsEntropy: Bool) {
        self.compute = compute
        self.wantsEntropy = wantsEntropy
    }

    struct Row {
        var logProbability: Double  // of the target
        var prediction: Int32
        var confidence: Float
        var entropy: Double  // NaN if not wanted
    }

    /// Tells `each` row of the source what is to be known of it, in order.  targets: [rows]
    mutating func judge(
        _ source: some LogitSource, targets: [Int32], each: (_ row: Int, _ statistics: Row) -> Void
    ) throws(LLaDAError) {
        let rows = targets.count
        if rows == 0 { return }  // a forward of clean blocks alone
        let width = min(type(of: source).tile, source.vocabSize)
        let tiles = source.tiles
        let piece = min(rows, Confidence.rowsAtATime)
        let scratch = try tileScratch.reserve(compute.team.size * (piece + 2) * width)
        let peaks = try peakScratch.reserve(tiles * rows)
        let weighted = try weightedScratch.reserve(wantsEntropy ? tiles * rows : 1)
        let targetLogits = try targetScratch.reserve(rows)
        compute.team.forEach(tiles) { index, worker in
            let vocabulary = source.vocabulary(ofTile: index)
            let logits = scratch + worker * (piece + 2) * width
            for first in stride(from: 0, to: rows, by: piece) {
                let range = first..<min(first + piece, rows)
                source.logits(range, vocabulary, into: logits, stride: width)
                for row in range {
                    let values = logits + (row - first) * width
                    let peak = Peak(values, vocabulary, compute.kernels)
                    peaks[index * rows + row] = peak
                    if vocabulary.contains(Int(targets[row])) {
                        targetLogits[row] = values[Int(targets[row]) - vocabulary.lowerBound]
                    }
                    if wantsEntropy {
                        weighted[index * rows + row] = weightedSum(
                            values, vocabulary.count, peak, scratch: logits + piece * width, width)
                    }
                }
            }
        }
        for row in 0..<rows {
            var peak = peaks[row]
            for index in 1..<max(tiles, 1) { peak.join(peaks[index * rows + row]) }
            let logSum = logarithm(Double(peak.sum))
            let isSound = peak.logit > -.infinity
            each(row, Row(
                logProbability: Double(targetLogits[row]) - Double(peak.logit) - logSum,
                prediction: isSound ? peak.token : 0, confidence: isSound ? 1 / peak.sum : .nan,
                entropy: wantsEntropy ? entropy(row, rows, tiles, peaks, weighted, peak) : .nan))
        }
    }

    /// sum of p * (x - largest) over a tile, p being its own softmax.  x: [count];  scratch: [2, width]
    private func weightedSum(
        _ x: UnsafePointer<Float>, _ count: Int, _ peak: Peak, scratch: UnsafeMutablePointer<Float>, _ width: Int
    ) -> Float {
        let (probabilities, distances) = (scratch, scratch + width)
        // Far below the largest, p is 0 whatever the distance; with -inf the product would be NaN.
        for index in 0..<count { distances[index] = max(x[index] - peak.logit, -200) }
        probabilities.update(from: distances, count: count)
        var most: Float = 0
        var sum: Float = 0
        compute.kernels.softmax(probabilities, count, 1, &most, &sum)
        var result: Float = 0
        compute.kernels.matmul(distances, count, 1, probabilities, LLK_F32, count, 0, 1, &result, 1)
        return result
    }

    /// H = log S - sum of p (x - largest), the tiles' sums weighed by their shares of S.
    private func entropy(
        _ row: Int, _ rows: Int, _ tiles: Int, _ peaks: UnsafePointer<Peak>, _ weighted: UnsafePointer<Float>, _ whole: Peak
    ) -> Double {
        var sum = 0.0
        var distance = 0.0
        for tile in 0..<tiles {
            let part = peaks[tile * rows + row]
            let share = Double(part.sum) * Double(llk_expf(part.logit - whole.logit))
            sum += share
            distance += share * (Double(weighted[tile * rows + row]) + Double(part.logit) - Double(whole.logit))
        }
        return max(0, logarithm(sum) - distance / sum)
    }
}

/// The natural logarithm of a sum of exponentials to about 1e-15; NaN of anything but a positive number. The system's may
/// differ from machine to machine in its last bit.
package func logarithm(_ x: Double) -> Double {
    guard x > 0, x < .infinity else { return .nan }
    var (mantissa, exponent) = (x.significand, Double(x.exponent))
    if mantissa > 1.4142135623730951 { (mantissa, exponent) = (mantissa / 2, exponent + 1) }
    // log m = 2 artanh((m - 1) / (m + 1)), the argument being at most 0.172
    let s = (mantissa - 1) / (mantissa + 1)
    var series = 0.0
    for power in stride(from: 23, through: 1, by: -2) { series = series * (s * s) + 1 / Double(power) }
    return exponent * 0.6931471805599453 + 2 * s * series
}
