/// The settings of the reports.
extension Policy {
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

    /// The plain one of a kind.
    package static func preset(of kind: Kind) -> Policy {
        switch kind {
        case .lowConfidence: lowConfidence
        case .jointThreshold: quality
        }
    }

    /// 2.1, Q mode with multi-block editing.
    public static var qualityMBE: Policy {
        var policy = quality
        policy.mbeWindow = 2
        return policy
    }
}
