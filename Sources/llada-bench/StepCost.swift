import Foundation
import Kernels
import LLaDA

/// The bytes that a step must read and the operations that it must compute, derived from a model's shape. Nothing in it
/// is measured.
struct StepCost {
    struct Part {
        /// The bytes of weights, keys and values.
        var bytes = 0.0
        /// The operations of products with weights, in the format that the weights are multiplied in.
        var operations = 0.0
        /// The operations in f32, whatever the format: routers.
        var floatOperations = 0.0
        /// The operations of attention, for scores and values, in the type of keys and values.
        var scoreOperations = 0.0
    }

    private(set) var parts: [Observer.Part: Part] = [:]

    /// Computes the cost of `rows` positions at once, all of which want logits, after `prefix` cached positions.
    /// `experts` is the number of experts of a mixture layer that the rows use; nil: the expectation for routers that
    /// choose at random.
    init(
        _ config: ModelConfig, _ dtype: NumberFormat?, _ kvDType: NumberFormat, rows: Int, prefix: Int,
        experts: Double? = nil
    ) {
        self.config = config
        self.rows = Double(rows)
        let (hidden, heads) = (config.hiddenSize, config.numAttentionHeads * config.headDim)
        let keyValueWidth = 2 * config.numKeyValueHeads * config.headDim
        let layers = Double(config.numHiddenLayers)
        let mixtures = Double(config.numHiddenLayers - config.firstKDenseReplace)
        let all = dtype?.ofAllTokens

        multiply(.attention, all, outputs: heads + keyValueWidth, inputs: hidden, times: layers)
        multiply(.attention, all, outputs: hidden, inputs: heads, times: layers)
        let seen = Double(prefix + rows)
        parts[.attention, default: Part()].bytes +=
            layers * seen * Double(keyValueWidth * (kvDType == .f32 ? 4 : kvDType == .bf16 ? 2 : 1))
        parts[.attention, default: Part()].scoreOperations = layers * 4 * self.rows * seen * Double(heads)
        multiply(.head, all, outputs: config.vocabSize, inputs: hidden, times: 1)
        feedForward(.dense, all, config.intermediateSize, times: layers - mixtures)
        if mixtures == 0 { return }

        feedForward(.shared, all, config.moeIntermediateSize * config.numSharedExperts, times: mixtures)
        parts[.router] = Part(
            bytes: mixtures * Double(config.numExperts * hidden * MemoryLayout<Float>.size),
            floatOperations: mixtures * 2 * self.rows * Double(config.numExperts * hidden))
        let perToken = Double(config.numExpertsPerTok)
        let used = experts ?? config.expectedExperts(rows: rows)
        feedForward(.experts, dtype, config.moeIntermediateSize, times: mixtures * used, rows: perToken / used)
    }

    private let config: ModelConfig
    private let rows: Double

    private mutating func multiply(
        _ part: Observer.Part, _ dtype: NumberFormat?, outputs: Int, inputs: Int, times: Double, rows share: Double = 1
    ) {
        let layout = Matrix.Layout(dtype, stored: LLK_BF16)
        let bytes = Matrix.byteCount(layout, outputs: outputs, inputs: inputs)
        parts[part, default: Part()].bytes += times * Double(bytes)
        parts[part, default: Part()].operations += times * 2 * rows * share * Double(outputs * inputs)
    }

    private mutating func feedForward(
        _ part: Observer.Part, _ dtype: NumberFormat?, _ intermediate: Int, times: Double, rows share: Double = 1
    ) {
        if intermediate == 0 || times == 0 { return }
        multiply(part, dtype, outputs: 2 * intermediate, inputs: config.hiddenSize, times: times, rows: share)
        multiply(part, dtype, outputs: config.hiddenSize, inputs: intermediate, times: times, rows: share)
    }

    // MARK: Sums

    var bytes: Double { parts.values.reduce(0) { $0 + $1.bytes } }
    var operations: Double { parts.values.reduce(0) { $0 + $1.operations + $1.floatOperations + $1.scoreOperations } }

    /// The most that a machine can do.
    struct Limits {
        let bandwidth: Double  // GB/s
        let arithmetic: Double  // G(FL)OP/s, in the format that weights are multiplied in
        let floatArithmetic: Double  // GFLOP/s
        let scoreArithmetic: Double  // GFLOP/s, in the type of keys and values
    }

    /// Returns a part's time at these limits, in seconds. A part reads its weights while it multiplies, and parts wait
    /// for each other. Norms, the choices of routers, softmax and the distribution of work are not counted.
    func seconds(_ part: Observer.Part, _ limits: Limits) -> Double {
        guard let part = parts[part] else { return 0 }
        return
            (max(part.bytes / limits.bandwidth, part.operations / limits.arithmetic)
            + part.floatOperations / limits.floatArithmetic + part.scoreOperations / limits.scoreArithmetic) / 1e9
    }

    func seconds(_ limits: Limits) -> Double { parts.keys.reduce(0) { $0 + seconds($1, limits) } }

    /// Returns the bytes of all weights of a model that holds its matrices in this format; the embedding is in bf16.
    static func weights(_ config: ModelConfig, _ dtype: NumberFormat?) -> Double {
        let all = StepCost(config, dtype, .f32, rows: 0, prefix: 0, experts: Double(config.numExperts))
        return all.bytes + Double(2 * config.vocabSize * config.hiddenSize)
    }
}
