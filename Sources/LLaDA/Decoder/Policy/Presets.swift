/// The settings of the reports.
extension Policy {
    /// The settings of LLaDA2.0 and 2.0-CAP.
    public static var lowConfidence: Policy { Policy(.lowConfidence) }

    /// The settings of LLaDA2.1, speedy (S) mode.
    public static var speedy: Policy {
        var policy = Policy(.jointThreshold)
        policy.threshold = 0.5
        policy.editingThreshold = 0
        return policy
    }

    /// The settings of LLaDA2.1, quality (Q) mode.
    public static var quality: Policy {
        var policy = Policy(.jointThreshold)
        policy.threshold = 0.7
        policy.editingThreshold = 0.5
        return policy
    }

    /// Returns the plain preset of a kind.
    package static func preset(of kind: Kind) -> Policy {
        switch kind {
        case .lowConfidence: lowConfidence
        case .jointThreshold: quality
        case .levenshtein: levenshtein
        }
    }

    /// The settings of LLaDA2.1, quality (Q) mode, with multi-block editing.
    public static var qualityMBE: Policy {
        var policy = quality
        policy.mbeWindow = 2
        return policy
    }

    /// The settings of LLaDA2.2.
    public static var levenshtein: Policy {
        var policy = Policy(.levenshtein)
        policy.threshold = 0.5
        policy.editingThreshold = 0
        return policy
    }
}
