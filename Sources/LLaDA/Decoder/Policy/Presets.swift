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

    /// The settings of LLaDA2.0 and 2.0-CAP, with steps that run masks and what the step before wrote.
    public static var lowConfidenceRefresh: Policy {
        var policy = lowConfidence
        policy.refresh = Refresh()
        return policy
    }

    /// The settings of LLaDA2.1, speedy (S) mode, with steps that run masks, what the step before changed, and drafts
    /// whose confidence is below 0.99.
    public static var speedyRefresh: Policy {
        var policy = speedy
        policy.refresh = Refresh(below: 0.99, exact: false)
        return policy
    }

    /// The settings of LLaDA2.1, quality (Q) mode, with the same steps.
    public static var qualityRefresh: Policy {
        var policy = quality
        policy.refresh = Refresh(below: 0.99, exact: false)
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
