import Foundation
import Kernels
import LLaDA

/// What a step has to read and to compute, derived from a model's shape: nothing in it is measured.
struct StepCost {
    struct Part {
        /// Of weights, and of keys and values.
        var bytes = 0.0
        /// Products of weights, in the format those are multiplied in.
        var operations = 0.0
        /// In f32, whatever the format: routers.
        var floatOperations = 0.0
        /// Of attention, for scores and values, in the type that keys and values are held in.
        var scoreOperations = 0.0
    }

    private(set) var parts: [Observer.Part: Part] = [:]

    /// `rows` positions at once, all of which want logits, on `prefix` others in the cache; `experts` that the rows
    /// use, a mixture layer: nil for the expectation of routers that choose at random.
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
        parts[.attention, default: Part()].bytes += layers * seen * Double(keyValueWidth * (kvDType == .f32 ? 4 : 2))
        parts[.attention, default: Part()].scoreOperations = layers * 4 * self.rows * seen * Double(heads)
        multiply(.head, all, outputs: config.vocabSize, inputs: hidden, times: 1)
        feedForward(.dense, all, config.intermediateSize, times: layers - mixtures)
        if mixtures == 0 { return }

        feedForward(.shared, all, config.moeIntermediateSize * config.numSharedExperts, times: mixtures)
        parts[.router] = Part(
            bytes: mixtures * Double(config.numExperts * hidden * MemoryLayout<Float>.size),
            floatOperations: mixtures * 2 * self.rows * Double(config.numExperts * hidden))
        let pool = Double(config.expertCapacity > 0 ? config.expertCapacity : config.numExperts)
        let perToken = Double(config.numExpertsPerTok)
        let used = experts ?? pool * (1 - pow(1 - perToken / pool, self.rows))
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

    /// What a machine can do at most.
    struct Limits {
        let bandwidth: Double  // GB/s
        let arithmetic: Double  // G(FL)OP/s, in the format weights are multiplied in
        let floatArithmetic: Double  // GFLOP/s
        let scoreArithmetic: Double  // GFLOP/s, in the type of keys and values
    }

    /// A part's time at these limits, in seconds: it reads its weights while it multiplies, and parts wait for each
    /// other. Norms, routing's choices, softmax and the handing out of work are not in it.
    func seconds(_ part: Observer.Part, _ limits: Limits) -> Double {
        guard let part = parts[part] else { return 0 }
        return
            (max(part.bytes / limits.bandwidth, part.operations / limits.arithmetic)
            + part.floatOperations / limits.floatArithmetic + part.scoreOperations / limits.scoreArithmetic) / 1e9
    }

    func seconds(_ limits: Limits) -> Double { parts.keys.reduce(0) { $0 + seconds($1, limits) } }

    /// All weights of a model that holds its matrices like that, in bytes; the embedding in bf16.
    static func weights(_ config: ModelConfig, _ dtype: NumberFormat?) -> Double {
        let all = StepCost(config, dtype, .f32, rows: 0, prefix: 0, experts: Double(config.numExperts))
        return all.bytes + Double(2 * config.vocabSize * config.hiddenSize)
    }
}
