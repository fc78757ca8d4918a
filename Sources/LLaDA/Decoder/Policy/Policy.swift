/// The numbers that decide which edits a step proposes and when a block is done
/// (spec: decoding.md, sections 1 to 3 and 7).
///
/// The twin of `llada_policy`. Each number stands here twice: as a property, and in `numbers`, by which it is checked,
/// kept in snapshots, and copied to and from C.
public struct Policy: Sendable, Equatable {
    /// The algorithm.
    public enum Kind: Int32, Sendable, CaseIterable {
        /// LLaDA2.0: masks are filled where confidence > threshold, or by quota.
        case lowConfidence
        /// LLaDA2.1: masks are filled, and tokens already written are edited.
        case jointThreshold
        /// LLaDA2.2: and tokens are put in and taken out, by two tokens that stand for it.
        case levenshtein
    }

    /// How a block of the Levenshtein policy comes to its end.
    public enum Variant: Int32, Sendable, CaseIterable {
        /// As in the reference's `generate`.
        case reference
        /// As in SGLang's JointThresholdInDel.
        case indel
    }

    /// Which rows a step runs through the model: masks, rows whose token has changed, and drafts of little confidence
    /// (spec: decoding.md, section 9). The others keep keys, values, prediction and confidence of their last forward.
    /// The first step of a block runs all.
    public struct Refresh: Sendable, Equatable {
        /// A row runs in so many steps after its token has changed.
        public var changed: Int
        /// A draft runs if its last confidence is below this; 0: none does.
        public var below: Float
        /// Every so many steps of a block all rows run; 0: only in the first.
        public var every: Int
        /// Whether a block that is done gets the keys and values that a step of all rows gives, in the first forward of
        /// the next block.
        public var exact: Bool

        public init(changed: Int = 1, below: Float = 0, every: Int = 0, exact: Bool = true) {
            (self.changed, self.below, self.every, self.exact) = (changed, below, every, exact)
        }
    }

    /// The algorithm that uses the numbers.
    public var kind: Kind
    /// Mask-to-token: the confidence above which a mask is filled.
    public var threshold: Float = 0.95
    /// Low confidence: the most steps of a block. Levenshtein: the steps in which the masks of a block's beginning are
    /// to be filled.
    public var steps = 32
    /// Low confidence: a limit on the steps, gen_length / minimal_topk.
    public var minimalTopk = 1
    /// Joint, Levenshtein: the confidence above which a written token is edited.
    public var editingThreshold: Float = 0.9
    /// Joint: the most steps of a block without a mask. Levenshtein: without a mask of its beginning.
    public var maxPostSteps = 16
    /// Joint: the fewest masks that a step fills.
    public var numToTransfer = 1
    /// Joint: the amount taken off the logit of the token to the left (SGLang).
    public var penaltyLambda: Float = 0
    /// Multi-block editing: the number of blocks revisited at a block's end; 1 is off.
    public var mbeWindow = 1
    /// Multi-block editing: the most rounds; a round that changes nothing ends it.
    public var mbeRounds = 1
    /// The temperature of the draw; 0 takes the most likely token.
    public var temperature: Float = 0
    /// The number of most likely tokens to draw from; 0 is off.
    public var topK = 0
    /// The probability mass of the most likely tokens to draw from; 1 is off.
    public var topP: Float = 1
    /// The seed of the draws; equal seeds draw equal tokens.
    public var seed: UInt64 = 0
    /// Levenshtein, reference: the most steps of a block. If masks are left then, one more fills them.
    public var maxStepsPerBlock = 1000
    /// Levenshtein: whose rule it is.
    public var variant: Variant {
        get { Variant(rawValue: Int32(clamping: variantCode)) ?? .reference }
        set { variantCode = Int(newValue.rawValue) }
    }
    /// The variant as the header has it, which may be none.
    private var variantCode = 0
    /// Which rows the steps of a block run; nil: all.
    public var refresh: Refresh? {
        get {
            refreshChanged == 0
                ? nil
                : Refresh(
                    changed: refreshChanged, below: refreshBelow, every: refreshEvery, exact: refreshExactCode != 0)
        }
        set {
            refreshChanged = newValue?.changed ?? 0
            refreshBelow = newValue?.below ?? 0
            refreshEvery = newValue?.every ?? 0
            refreshExactCode = newValue.map { $0.exact ? 1 : 0 } ?? 0
        }
    }
    // The numbers of `refresh`, as the header has them.
    private var refreshChanged = 0
    private var refreshBelow: Float = 0
    private var refreshEvery = 0
    private var refreshExactCode = 0

    /// Makes a policy of this kind with the defaults of the reference's `generate`.
    public init(_ kind: Kind) { self.kind = kind }
}

extension Policy {
    /// A number by its name in the header, with its range.
    package enum Number: Sendable {
        case real(String, WritableKeyPath<Policy, Float> & Sendable, ClosedRange<Float>, expected: String)
        case count(String, WritableKeyPath<Policy, Int> & Sendable, ClosedRange<Int>)
        case seed(String, WritableKeyPath<Policy, UInt64> & Sendable)
    }

    private static let finite = -Float.greatestFiniteMagnitude...Float.greatestFiniteMagnitude
    private static let most = Int(Int32.max)

    /// All numbers, in the header's order.
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
        .count("max_steps_per_block", \.maxStepsPerBlock, 1...most),
        .count("variant", \.variantCode, 0...Variant.allCases.count - 1),
        .count("refresh_changed", \.refreshChanged, 0...most),
        .real("refresh_below", \.refreshBelow, 0...finite.upperBound, expected: "a number of at least 0.0"),
        .count("refresh_every", \.refreshEvery, 0...most),
        .count("refresh_exact", \.refreshExactCode, 0...1),
    ]

    /// Throws `.invalidArgument` unless each number is in its range and all suit the length to generate, and
    /// `.specialToken` if the model lacks tokens that the policy needs.
    func validate(genLength: Int, hasEditTokens: Bool) throws(LLaDAError) {
        guard kind != .levenshtein || hasEditTokens else {
            throw LLaDAError(
                .specialToken,
                """
                the Levenshtein policy needs the tokens by which a model deletes and inserts: its config does not name \
                them; give delete_token_id and split_token_id, or another policy
                """)
        }
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
        guard mbeWindow == 1 || kind == .jointThreshold else {
            throw Self.refusal("mbe_window", mbeWindow, expected: "1: only the joint policy edits finished blocks")
        }
        try decodingPolicy.validate(genLength: genLength)
    }

    static func refusal(_ name: String, _ found: some CustomStringConvertible, expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "policy: \(name) is \(found); expected \(expected)")
    }
}
