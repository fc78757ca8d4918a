import Glibc

/// YaRN, an extension of a model's context by `factor` (Peng et al. 2023, as Hugging Face transformers 5 computes it).
/// Dimensions that turn often within the original context keep their frequency. Dimensions that turn less than once are
/// slowed down by `factor`. Those between are mixed. Sines and cosines are multiplied by `attentionFactor`.
public struct YaRN: Sendable, Equatable {
    /// The factor of the extension; at least 1.
    public let factor: Double
    /// The number of positions of the training before the extension.
    public let originalMaxPositionEmbeddings: Int
    /// The number of turns within the original context from which on a frequency is kept.
    public let betaFast: Double
    /// The number of turns within the original context up to which a frequency is divided by `factor`.
    public let betaSlow: Double
    /// Whether the bounds of the mixed dimensions are rounded outwards to whole dimensions.
    public let truncate: Bool
    /// The factor of sines and cosines; positive and finite as a float.
    public let attentionFactor: Double

    /// The keys that may stand beside the type in the object that says "yarn".
    static let keys: Set<JSONString> = [
        "factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "truncate", "attention_factor",
        "mscale",
        "mscale_all_dim",
    ]

    private static let positions = 1...ModelConfig.mostPositions

    /// Reads and checks the numbers. `fields` is the object that says "yarn", `top` the whole file, `stated` its
    /// `max_position_embeddings`, and `theta` the base of the rotary embedding.
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

        // A factor of null means the ratio of the two lengths.
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
        // To transformers null is false here, and absent is true.
        if case .null? = fields.object["truncate"] {
            throw fields.error("truncate", found: "null", expected: "true or false")
        }
        truncate = try fields.bool("truncate") ?? true
        // The bounds are computed with logarithms to this base.
        if theta <= 1 {
            throw fields.error("rope_theta", found: "\(theta)", expected: "more than 1, with yarn")
        }

        let given = try fields.positive("attention_factor")
        let scales = 0...1000.0
        let mscale = try fields.number("mscale", in: scales) ?? 0
        let mscaleAllDim = try fields.number("mscale_all_dim", in: scales) ?? 0
        // If either of them is 0, neither counts.
        let derived =
            mscale > 0 && mscaleAllDim > 0
            ? Self.scale(factor, mscale) / Self.scale(factor, mscaleAllDim) : Self.scale(factor, 1)
        attentionFactor = given ?? derived
    }

    /// Returns the number of positions that a model runs: `factor` times the original ones, or `stated` if that is
    /// more.
    func positions(stated: Int) -> Int {
        max(stated, Int(factor * Double(originalMaxPositionEmbeddings)))
    }

    /// Returns how much longer queries and keys become in a context `factor` times as long.
    static func scale(_ factor: Double, _ weight: Double) -> Double { 0.1 * weight * log(factor) + 1 }
}
