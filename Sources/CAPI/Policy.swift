import CLLaDA
import LLaDA

@_cdecl("llada_policy_init") @implementation
public func llada_policy_init(
    _ policy: UnsafeMutablePointer<llada_policy>?, _ size: Int, _ preset: llada_preset,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let values: Policy =
            switch Int(preset) {
            case LLADA_PRESET_LOW_CONFIDENCE: .lowConfidence
            case LLADA_PRESET_SPEEDY: .speedy
            case LLADA_PRESET_QUALITY: .quality
            case LLADA_PRESET_QUALITY_MBE: .qualityMBE
            default: throw .argument("preset", found: preset, expected: "a LLADA_PRESET, 0 to 3")
            }
        try CallerStruct.initialize(policy, size, "llada_policy", to: llada_policy(values))
    }
}

@_cdecl("llada_decoder_get_policy") @implementation
public func llada_decoder_get_policy(
    _ decoder: OpaquePointer?, _ policy: UnsafeMutablePointer<llada_policy>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let decoder = try DecoderHandle.at(decoder).look()
        guard let policy else { throw .null("policy") }
        try CallerStruct(policy, "llada_policy").write(llada_policy(decoder.options.policy))
    }
}

extension llada_policy {
    fileprivate init(_ policy: Policy) {
        self.init()
        kind = llada_policy_kind(
            policy.kind == .lowConfidence ? LLADA_POLICY_LOW_CONFIDENCE : LLADA_POLICY_JOINT_THRESHOLD)
        threshold = policy.threshold
        steps = Int32(clamping: policy.steps)
        minimal_topk = Int32(clamping: policy.minimalTopk)
        editing_threshold = policy.editingThreshold
        max_post_steps = Int32(clamping: policy.maxPostSteps)
        num_to_transfer = Int32(clamping: policy.numToTransfer)
        penalty_lambda = policy.penaltyLambda
        mbe_window = Int32(clamping: policy.mbeWindow)
        mbe_rounds = Int32(clamping: policy.mbeRounds)
        temperature = policy.temperature
        top_k = Int32(clamping: policy.topK)
        top_p = policy.topP
        seed = policy.seed
    }
}

extension Policy {
    /// What a smaller struct lacks is as in the plain preset of its kind. Ranges are the engine's to check.
    init(_ pointer: UnsafePointer<llada_policy>) throws(LLaDAError) {
        let fields = try CallerStruct(pointer, "llada_policy")
        self = .quality
        if let kind = fields[\.kind] {
            switch Int(kind) {
            case LLADA_POLICY_LOW_CONFIDENCE: self = .lowConfidence
            case LLADA_POLICY_JOINT_THRESHOLD: self = .quality
            default: throw .argument("kind of the policy", found: kind, expected: "a LLADA_POLICY, 0 or 1")
            }
        }
        if let value = fields[\.threshold] { threshold = value }
        if let value = fields[\.steps] { steps = Int(value) }
        if let value = fields[\.minimal_topk] { minimalTopk = Int(value) }
        if let value = fields[\.editing_threshold] { editingThreshold = value }
        if let value = fields[\.max_post_steps] { maxPostSteps = Int(value) }
        if let value = fields[\.num_to_transfer] { numToTransfer = Int(value) }
        if let value = fields[\.penalty_lambda] { penaltyLambda = value }
        if let value = fields[\.mbe_window] { mbeWindow = Int(value) }
        if let value = fields[\.mbe_rounds] { mbeRounds = Int(value) }
        if let value = fields[\.temperature] { temperature = value }
        if let value = fields[\.top_k] { topK = Int(value) }
        if let value = fields[\.top_p] { topP = value }
        if let value = fields[\.seed] { seed = value }
    }
}
