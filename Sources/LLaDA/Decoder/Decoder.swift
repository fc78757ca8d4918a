import Kernels

/// A canvas that is being denoised, block by block. A step is `forward` + `propose` + `apply`; between any two the host
/// may look and interfere.
///
/// Belongs to one thread at a time; `cancellation` alone may be used from anywhere.
public final class Decoder {
    public struct Options: Sendable {
        public var blockLength = 32
        /// Tokens to generate at most.
        public var genLength = 256
        /// Stop as soon as the answer is known to have ended.
        public var eosEarlyStop = true
        /// Mask ids in the prompt are positions to fill; else they are refused.
        public var infill = false
        /// False recomputes everything at every step: same bits, for comparison.
        public var useCache = true
        /// Where K/V is shared with other decoders of the model.
        public var prefixCache: PrefixCache?
        public var policy = Policy.quality

        public init() {}
    }

    public enum Phase: Int32, Sendable {
        /// `forward` is next.
        case ready
        /// `propose` is next.
        case forwarded
        /// `apply` is next.
        case proposed
        case finished
    }

    public enum PositionState: UInt8, Sendable {
        case prompt
        case masked
        /// Written, may still be edited.
        case draft
        /// Final.
        case settled
    }

    public enum FinishReason: Int32, Sendable {
        case none
        case eos
        case length
    }

    public struct Candidate: Sendable, Equatable {
        public let token: Int32
        public let logit: Float
        public let probability: Float
    }

    /// The host's part in `propose`: called when the policy has made its proposal, and free to look and interfere,
    /// `setProposal` and `blockEnds` above all. What it throws is thrown by `propose`. A fork has the same, called with
    /// the fork.
    public var rule: ((Decoder) throws(LLaDAError) -> Void)?
    /// Ends the forward at work, or else the next one; may be used from any thread.
    public var cancellation: Cancellation { sequence.cancellation }

    var state: DecoderState
    let sequence: CachedSequence
    let policy: any DecodingPolicy
    var confidence: Confidence
    var logitRows = LogitRows()  // of the last forward, if anybody asked

    /// A decoder on a prompt. Nothing is computed but what `sequence` may have of it.
    package convenience init(
        _ sequence: CachedSequence, maskID: Int32, eosIDs: [Int32], prompt: [Int32], options: Options
    ) throws(LLaDAError) {
        let denoiser = sequence.denoiser
        let needed = prompt.count.addingReportingOverflow(max(options.genLength, 0))
        try denoiser.config.check(
            blockLength: options.blockLength, canvas: needed.overflow ? .max : needed.partialValue)
        try denoiser.config.check(prompt)
        try options.validate(for: denoiser)
        try options.validate(prompt, maskID)
        let canvas = try Canvas(
            prompt: prompt, genLength: options.genLength, blockLength: options.blockLength, maskID: maskID)
        self.init(DecoderState(options: options, canvas: canvas, eosIDs: Set(eosIDs)), sequence)
        enter(0)
    }

    /// A decoder that goes on from `state`.
    init(_ state: DecoderState, _ sequence: CachedSequence) {
        self.state = state
        self.sequence = sequence
        policy = state.options.policy.decodingPolicy
        confidence = Confidence(compute: sequence.denoiser.compute, vocabSize: sequence.denoiser.config.vocabSize)
    }
}

extension Decoder.Options {
    /// Whether a decoder of this model can have these options.
    func validate(for denoiser: any Denoiser) throws(LLaDAError) {
        guard let prefixCache else { return }
        guard prefixCache.denoiser === denoiser else {
            throw LLaDAError(.invalidArgument, "the prefix cache belongs to another model")
        }
        guard useCache else {
            throw LLaDAError(.invalidArgument, "use_cache is false; expected true with a prefix cache")
        }
    }

    fileprivate func validate(_ prompt: [Int32], _ maskID: Int32) throws(LLaDAError) {
        try policy.validate(genLength: genLength)
        guard genLength >= 0, genLength > 0 || infill else {
            throw LLaDAError(.invalidArgument, "gen_length is \(genLength); expected at least 1 (0 if infilling)")
        }
        if !infill, let position = prompt.firstIndex(of: maskID) {
            throw LLaDAError(
                .specialToken,
                "token \(position) of the prompt is the mask id, \(maskID); expected none unless infilling")
        }
    }
}
