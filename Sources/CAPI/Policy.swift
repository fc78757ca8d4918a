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
            case LLADA_PRESET_LEVENSHTEIN: .levenshtein
            case LLADA_PRESET_LOW_CONFIDENCE_REFRESH: .lowConfidenceRefresh
            case LLADA_PRESET_SPEEDY_REFRESH: .speedyRefresh
            case LLADA_PRESET_QUALITY_REFRESH: .qualityRefresh
            default: throw .argument("preset", found: preset, expected: "a LLADA_PRESET, 0 to 7")
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
        try CallerStruct(policy, "llada_policy").write(llada_policy(decoder.options.policy ?? .quality))
    }
}

extension llada_policy {
    fileprivate init(_ policy: Policy) {
        self.init()
        kind = policy.kind.rawValue
        withUnsafeMutableBytes(of: &self) { bytes in
            for (number, offset) in placedNumbers {
                switch number {
                case .real(_, let path, _, _):
                    bytes.storeBytes(of: policy[keyPath: path], toByteOffset: offset, as: Float.self)
                case .count(_, let path, _):
                    bytes.storeBytes(of: Int32(clamping: policy[keyPath: path]), toByteOffset: offset, as: Int32.self)
                case .seed(_, let path):
                    bytes.storeBytes(of: policy[keyPath: path], toByteOffset: offset, as: UInt64.self)
                }
            }
        }
    }
}

extension Policy {
    /// Reads a policy. Fields that a smaller struct lacks are those of the plain preset of its kind. The engine checks
    /// ranges.
    init(_ pointer: UnsafePointer<llada_policy>) throws(LLaDAError) {
        let fields = try CallerStruct(pointer, "llada_policy")
        self = .quality
        if let code = fields[\.kind] {
            guard let kind = Kind(rawValue: code) else {
                throw .argument(
                    "kind of the policy", found: code, expected: "a LLADA_POLICY, 0 to \(Kind.allCases.count - 1)")
            }
            self = .preset(of: kind)
        }
        for (number, offset) in placedNumbers {
            switch number {
            case .real(_, let path, _, _):
                if let value = fields.load(offset, as: Float.self) { self[keyPath: path] = value }
            case .count(_, let path, _):
                if let value = fields.load(offset, as: Int32.self) { self[keyPath: path] = Int(value) }
            case .seed(_, let path):
                if let value = fields.load(offset, as: UInt64.self) { self[keyPath: path] = value }
            }
        }
    }
}

/// The offset of each number in `llada_policy`. The numbers follow the kind, in the order of the header, which
/// `Policy.numbers` has too.
private let placedNumbers: [(Policy.Number, offset: Int)] = {
    var end = MemoryLayout<(UInt32, llada_policy_kind)>.size
    return Policy.numbers.map { number in
        let size =
            switch number {
            case .real, .count: MemoryLayout<Int32>.size
            case .seed: MemoryLayout<UInt64>.size
            }
        let offset = (end + size - 1) / size * size
        end = offset + size
        return (number, offset)
    }
}()
