import Glibc

/// Partial rotary position embedding: the first `rotaryDim` dimensions of a head are rotated in pairs
/// (j, j + rotaryDim / 2), and the others stay (spec: model.md, section 1).
package struct Rotary: Sendable {
    package let inverseFrequencies: [Float]  // [rotaryDim / 2], in radians per position
    /// The factor of cosines and sines; 1 without YaRN.
    package let scale: Float

    package init(_ config: ModelConfig) {
        let dim = config.rotaryDim
        let wavelengths = (0..<dim / 2).map { powf(Float(config.ropeTheta), Float(2 * $0) / Float(dim)) }
        inverseFrequencies =
            config.yarn.map { Self.scaled(wavelengths, $0, theta: config.ropeTheta, dim: dim) }
            ?? wavelengths.map { 1 / $0 }
        scale = Float(config.yarn?.attentionFactor ?? 1)
    }

    /// Returns YaRN's inverse frequencies, [dim / 2], in the precisions of transformers: bounds in double, the rest in
    /// float.
    private static func scaled(_ wavelengths: [Float], _ yarn: YaRN, theta: Double, dim: Int) -> [Float] {
        /// Returns the index, as a fraction, of the pair that makes `turns` turns within the original context.
        func index(turns: Double) -> Double {
            let positions = Double(yarn.originalMaxPositionEmbeddings)
            return Double(dim) * log(positions / (turns * 2 * Double.pi)) / (2 * log(theta))
        }
        let (first, last) = (index(turns: yarn.betaFast), index(turns: yarn.betaSlow))
        // The reference bounds the index of a pair by dim, not by dim / 2.
        let low = max(yarn.truncate ? first.rounded(.down) : first, 0)
        let high = min(yarn.truncate ? last.rounded(.up) : last, Double(dim - 1))
        let width = Float(low == high ? 0.001 : high - low)
        return wavelengths.enumerated().map { pair, wavelength in
            let kept = 1 - min(max((Float(pair) - Float(low)) / width, 0), 1)
            return 1 / (Float(yarn.factor) * wavelength) * (1 - kept) + 1 / wavelength * kept
        }
    }

    package var half: Int { inverseFrequencies.count }

    /// Computes the cosines and sines of a position: [half] each. The angle is a product of floats, as in the
    /// reference.
    package func fill(_ cosines: UnsafeMutablePointer<Float>, _ sines: UnsafeMutablePointer<Float>, position: Int) {
        for (index, frequency) in inverseFrequencies.enumerated() {
            let angle = Double(Float(position) * frequency)
            cosines[index] = Float(cos(angle)) * scale
            sines[index] = Float(sin(angle)) * scale
        }
    }

    /// Rotates one head, [headDim], in place.
    package func apply(
        _ head: UnsafeMutablePointer<Float>, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>
    ) {
        let half = half
        for index in 0..<half {
            let a = head[index]
            let b = head[index + half]
            head[index] = a * cosines[index] - b * sines[index]
            head[index + half] = b * cosines[index] + a * sines[index]
        }
    }
}
