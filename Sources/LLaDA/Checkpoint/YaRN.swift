import Glibc

/// YaRN, the extension of a model's context by `factor`: dimensions that turn often within the original context keep
/// their frequency, those that turn less than once are slowed down by `factor`, those between are mixed; sines and
/// cosines are scaled by `attentionFactor` (Peng et al. 2023, as Hugging Face transformers 5 computes it).
public struct YaRN: Sendable, Equatable {
    /// From 1.
    public let factor: Double
    /// Positions of the training before the extension.
    public let originalMaxPositionEmbeddings: Int
    /// Turns within the original context: from `betaFast` on a frequency is kept, up to `betaSlow` it is divided.
    public let betaFast: Double
    public let betaSlow: Double
    /// Whether the bounds of the mixture are rounded outwards to whole dimensions.
    public let truncate: Bool
    /// What sines and cosines are multiplied with; positive and finite as a float.
    public let attentionFactor: Double

    /// What stands beside the type in the object that says "yarn".
    static let keys: Set<JSONString> = [
        "factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate", "attention_factor",
        "mscale",
        "mscale_all_dim",
    ]

    private static let positions = 1...ModelConfig.mostPositions

    /// `fields` is the object that says "yarn", `top` the whole file, `stated` its `max_position_embeddings`.
    init(_ fields: ConfigFields, top: ConfigFields, stated: Int, theta: Double) throws(LLaDAError) {
        let original: JSONString = "original_max_position_embeddings"
        let inside = try fields.integer(original, in: Self.positions)
        let outside = try top.integer(original, in: Self.positions)
        if let inside, let outside, inside != outside {
            throw fields.error(
                original, found: "\(inside)", expected: "\(outside), which it is outside \(fields.prefix)")
        }
        let positions = inside ?? outside ?? stated
        originalMaxPositionEmbeddings = positions

        // Written as null, it is what the two lengths say.
        let ratio = Double(stated) / Double(positions)
        let range = 1...Double(ModelConfig.mostPositions)
        if fields.object["factor"] == nil {
            throw fields.error("factor", found: "missing", expected: ConfigFields.expectation(range))
        }
        let factor = try fields.number("factor", in: range) ?? ratio
        self.factor = factor
        if factor < 1 {
            throw fields.error(
                "factor", found: "null, for max_position_embeddings \(stated) / \(original.string) \(positions)",
                expected: ConfigFields.expectation(range))
        }
        if factor * Double(positions) > Double(ModelConfig.mostPositions) {
            throw fields.error(
                "factor", found: "\(factor), for \(original.string) \(positions)",
                expected: "at most \(ModelConfig.mostPositions) positions")
        }

        betaFast = try fields.positive("beta_fast") ?? 32
        betaSlow = try fields.positive("beta_slow") ?? 1
        if betaFast < betaSlow {
            throw fields.error("beta_fast", found: "\(betaFast)", expected: "at least beta_slow, \(betaSlow)")
        }
        truncate = try fields.bool("truncate") ?? true
        // The bounds are found by logarithms to this base.
        if theta <= 1 {
            throw fields.error("rope_theta", found: "\(theta)", expected: "more than 1, with yarn")
        }

        let given = try fields.positive("attention_factor")
        let scales = 0...1000.0
        let mscale = try fields.number("mscale", in: scales) ?? 0
        let mscaleAllDim = try fields.number("mscale_all_dim", in: scales) ?? 0
        // Either of them 0 is both not set.
        let derived =
            mscale > 0 && mscaleAllDim > 0
            ? Self.scale(factor, mscale) / Self.scale(factor, mscaleAllDim) : Self.scale(factor, 1)
        attentionFactor = given ?? derived
    }

    /// The positions a model runs: `factor` times the original ones, if the file does not state more.
    func positions(stated: Int) -> Int {
        max(stated, Int(factor * Double(originalMaxPositionEmbeddings)))
    }

    /// How much longer queries and keys become, the context being `factor` times as long.
    private static func scale(_ factor: Double, _ weight: Double) -> Double { 0.1 * weight * log(factor) + 1 }
}
