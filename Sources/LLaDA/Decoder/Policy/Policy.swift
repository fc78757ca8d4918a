/// The numbers that say which edits a step proposes, and when a block is done (spec: decoding.md, sections 1 to 3 and
/// 7).
///
/// The twin of `llada_policy`. A number stands here twice: as a property, and in `numbers`, by which it is checked,
/// kept in snapshots and handed to and from C.
public struct Policy: Sendable, Equatable {
    public enum Kind: Int32, Sendable, CaseIterable {
        /// LLaDA2.0: masks are filled where confidence > threshold, or by quota.
        case lowConfidence
        /// LLaDA2.1: masks are filled, and tokens already written are edited.
        case jointThreshold
    }

    public var kind: Kind
    /// Mask-to-token: write where confidence > threshold.
    public var threshold: Float = 0.95
    /// Low confidence: at most this many steps a block.
    public var steps = 32
    /// Low confidence: steps <= gen_length / minimal_topk.
    public var minimalTopk = 1
    /// Joint: token-to-token where confidence > editing_threshold.
    public var editingThreshold: Float = 0.9
    /// Joint: at most this many steps without a mask.
    public var maxPostSteps = 16
    /// Joint: write at least this many masks a step.
    public var numToTransfer = 1
    /// Joint: taken off the logit of the token that stands to the left (SGLang).
    public var penaltyLambda: Float = 0
    /// Multi-block editing: revisit this many blocks at a block's end; 1 is off.
    public var mbeWindow = 1
    /// ... this many times, or until nothing changes.
    public var mbeRounds = 1
    /// 0: the most likely token.
    public var temperature: Float = 0
    /// 0: off.
    public var topK = 0
    /// 1: off.
    public var topP: Float = 1
    /// Equal seeds draw equal tokens.
    public var seed: UInt64 = 0

    /// The defaults of the reference's `generate` of that kind.
    public init(_ kind: Kind) { self.kind = kind }
}

extension Policy {
    /// A number by its name in the header, with what it may be.
    package enum Number: Sendable {
        case real(String, WritableKeyPath<Policy, Float> & Sendable, ClosedRange<Float>, expected: String)
        case count(String, WritableKeyPath<Policy, Int> & Sendable, ClosedRange<Int>)
        case seed(String, WritableKeyPath<Policy, UInt64> & Sendable)
    }

    private static let finite = -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude
    private static let most = Int(Int32.max)

    /// All of them, in the header's order.
    package static let numbers: [Number] = [
        .real("threshold", \.threshold, finite, expected: "a number"),
        .count("steps", \.steps, 1...most),
        .count("minimal_topk", \.minimalTopk, 1...most),
        .real("editing_threshold", \.editingThreshold, finite, expected: "a number"),
        .count("max_post_steps", \.maxPostSteps, 0...most),
        .count("num_to_transfer", \.numToTransfer, 1...most),
        .real("penalty_lambda", \.penaltyLambda, finite, expected: "a number"),
        .count("mbe_window", \.mbeWindow, 1...1024),
        .count("mbe_rounds", \.mbeRounds, 1...most),
        .real("temperature", \.temperature, 0...finite.upperBound, expected: "a number of at least 0.0"),
        .count("top_k", \.topK, 0...most),
        .real("top_p", \.topP, Float.leastNonzeroMagnitude...1, expected: "more than 0, at most 1"),
        .seed("seed", \.seed),
    ]

    /// Whether each number is in its range, and all suit the length to generate.
    func validate(genLength: Int) throws(LLaDAError) {
        for number in Self.numbers {
            switch number {
            case .real(let name, let path, let range, let expected):
                guard range ~= self[keyPath: path] else {
                    throw Self.refusal(name, self[keyPath: path], expected: expected)
                }
            case .count(let name, let path, let range):
                guard range ~= self[keyPath: path] else {
                    throw Self.refusal(
                        name, self[keyPath: path], expected: "\(range.lowerBound) to \(range.upperBound)")
                }
            case .seed: break
            }
        }
        try decodingPolicy.validate(genLength: genLength)
    }

    static func refusal(_ name: String, _ found: some CustomStringConvertible, expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "policy: \(name) is \(found); expected \(expected)")
    }
}
