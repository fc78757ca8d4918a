import Kernels

/// Statistics of a distribution over tokens, from its logits: the probability of a given token, the most likely token,
/// the entropy. No whole row of logits is ever held: each tile is judged where it was computed.
struct TokenStatistics {
    let compute: Compute
    let wantsEntropy: Bool

    private var tileScratch: Scratch<Float>  // see forEachTile
    private var peakScratch: Scratch<Peak>  // [tiles, rows]
    private var weightedScratch: Scratch<Float>  // [tiles, rows]
    private var targetScratch: Scratch<Float>  // [rows]

    init(compute: Compute, wantsEntropy: Bool) {
        self.compute = compute
        self.wantsEntropy = wantsEntropy
        tileScratch = Scratch(in: compute.budget)
        peakScratch = Scratch(in: compute.budget)
        weightedScratch = Scratch(in: compute.budget)
        targetScratch = Scratch(in: compute.budget)
    }

    struct Row {
        var logProbability: Double  // of the target
        var prediction: Int32
        var confidence: Float
        var entropy: Double  // NaN if not wanted
    }

    /// Calls `each` with the statistics of each row of the source, in order. Throws `.numeric` for faulty logits.
    /// targets, positions: [rows]
    mutating func judge(
        _ source: some LogitSource, targets: [Int32], positions: [Int], each: (_ row: Int, _ statistics: Row) -> Void
    ) throws(LLaDAError) {
        let rows = targets.count
        let tiles = source.tiles
        let peaks = try peakScratch.reserve(tiles * rows)
        let weighted = try weightedScratch.reserve(wantsEntropy ? tiles * rows : 1)
        let targetLogits = try targetScratch.reserve(rows)
        let (kernels, wantsEntropy) = (compute.kernels, wantsEntropy)
        try source.forEachTile(rows: rows, compute.team, &tileScratch, spare: 2) { tile, row, _, logits, spare in
            let vocabulary = source.vocabulary(ofTile: tile)
            let peak = Peak(logits, vocabulary, kernels)
            peaks[tile * rows + row] = peak
            if vocabulary.contains(Int(targets[row])) {
                targetLogits[row] = logits[Int(targets[row]) - vocabulary.lowerBound]
            }
            if wantsEntropy {
                weighted[tile * rows + row] = Self.weightedSum(logits, vocabulary.count, peak, kernels, scratch: spare)
            }
        }
        for row in 0..<rows {
            let peak = Peak(peaks, tiles: tiles, row: row, of: rows)
            try peak.check(position: positions[row])
            each(
                row,
                Row(
                    logProbability: Double(targetLogits[row]) - Double(peak.logit) - logarithm(Double(peak.sum)),
                    prediction: peak.prediction, confidence: peak.confidence,
                    entropy: wantsEntropy ? entropy(row, rows, tiles, peaks, weighted, peak) : .nan))
        }
    }

    /// Returns the sum of p * (x - largest) over a tile, p being the tile's own softmax.  x: [count];
    /// scratch: [2, count]
    private static func weightedSum(
        _ x: UnsafePointer<Float>, _ count: Int, _ peak: Peak, _ kernels: llk_kernels,
        scratch: UnsafeMutablePointer<Float>
    ) -> Float {
        let (probabilities, distances) = (scratch, scratch + count)
        // Far below the largest logit p is 0, whatever the distance. With -inf the product would be NaN.
        for index in 0..<count { distances[index] = max(x[index] - peak.logit, -200) }
        probabilities.update(from: distances, count: count)
        var most: Float = 0
        var sum: Float = 0
        kernels.softmax(probabilities, count, 1, &most, &sum)
        var result: Float = 0
        kernels.matmul(distances, count, 1, probabilities, LLK_F32, count, 0, 1, &result, 1)
        return result
    }

    /// Returns H = log S - sum of p (x - largest); the tiles' sums are weighted by their shares of S.
    private func entropy(
        _ row: Int, _ rows: Int, _ tiles: Int, _ peaks: UnsafePointer<Peak>, _ weighted: UnsafePointer<Float>,
        _ whole: Peak
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

/// Returns the natural logarithm of a sum of exponentials to about 1e-15; NaN for anything but a finite positive
/// number. The system's logarithm may differ from machine to machine in its last bit.
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
