import Glibc

/// Partial rotary position embedding: the first `rotaryDim` dimensions of a head turn, in pairs (j, j + rotaryDim / 2);
/// the others pass (spec: model.md, section 1).
package struct Rotary: Sendable {
    private let inverseFrequencies: [Float]  // [rotaryDim / 2]

    package init(_ config: ModelConfig) {
        let dim = config.rotaryDim
        inverseFrequencies = (0..<dim / 2).map { index in
            1 / powf(Float(config.ropeTheta), Float(2 * index) / Float(dim))
        }
    }

    package var half: Int { inverseFrequencies.count }

    /// cosines and sines: [half] each. The angle is a product of floats, as in the reference.
    package func fill(_ cosines: UnsafeMutablePointer<Float>, _ sines: UnsafeMutablePointer<Float>, position: Int) {
        for (index, frequency) in inverseFrequencies.enumerated() {
            let angle = Double(Float(position) * frequency)
            cosines[index] = Float(cos(angle))
            sines[index] = Float(sin(angle))
        }
    }

    /// Turns one head, [headDim], in place.
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
