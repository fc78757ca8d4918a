/// Which edits a step proposes, and when a block is done (spec: decoding.md, sections 1 to 3 and 7).
public struct Policy: Sendable, Equatable {
    public enum Kind: Sendable {
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
    /// Multiple block editing: revisit this many blocks at a block's end; 1 is off.
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

    /// 2.0 and 2.0-CAP.
    public static var lowConfidence: Policy { Policy(.lowConfidence) }

    /// 2.1, S mode.
    public static var speedy: Policy {
        var policy = Policy(.jointThreshold)
        policy.threshold = 0.5
        policy.editingThreshold = 0
        return policy
    }

    /// 2.1, Q mode.
    public static var quality: Policy {
        var policy = Policy(.jointThreshold)
        policy.threshold = 0.7
        policy.editingThreshold = 0.5
        return policy
    }

    /// 2.1, Q mode with multiple block editing.
    public static var qualityMBE: Policy {
        var policy = quality
        policy.mbeWindow = 2
        return policy
    }

    func validate() throws(LLaDAError) {
        func refuse(_ name: String, _ found: String, _ expected: String) throws(LLaDAError) {
            throw LLaDAError(.invalidArgument, "policy: \(name) is \(found); expected \(expected)")
        }
        func number(_ name: String, _ value: Float, atLeast least: Float) throws(LLaDAError) {
            if !value.isFinite || value < least { try refuse(name, "\(value)", "a number of at least \(least)") }
        }
        func count(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(LLaDAError) {
            if !range.contains(value) { try refuse(name, "\(value)", "\(range.lowerBound) to \(range.upperBound)") }
        }
        if !threshold.isFinite { try refuse("threshold", "\(threshold)", "a number") }
        if !editingThreshold.isFinite { try refuse("editing_threshold", "\(editingThreshold)", "a number") }
        if !penaltyLambda.isFinite { try refuse("penalty_lambda", "\(penaltyLambda)", "a number") }
        try count("steps", steps, 1...Int(Int32.max))
        try count("minimal_topk", minimalTopk, 1...Int(Int32.max))
        try count("max_post_steps", maxPostSteps, 0...Int(Int32.max))
        try count("num_to_transfer", numToTransfer, 1...Int(Int32.max))
        try count("mbe_window", mbeWindow, 1...1024)
        try count("mbe_rounds", mbeRounds, 1...Int(Int32.max))
        if kind == .lowConfidence, mbeWindow > 1 {
            try refuse("mbe_window", "\(mbeWindow)", "1: only the joint policy edits tokens")
        }
        try number("temperature", temperature, atLeast: 0)
        try count("top_k", topK, 0...Int(Int32.max))
        if !(topP > 0 && topP <= 1) { try refuse("top_p", "\(topP)", "more than 0, at most 1") }
    }
}
