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

    public internal(set) var options: Options
    public let cancellation: Cancellation

    public internal(set) var phase = Phase.ready
    public internal(set) var finishReason = FinishReason.none
    /// The positions that the next, or current, forward is about.
    public internal(set) var active = 0..<0
    /// Positions before this one are final.
    public internal(set) var settledLength = 0
    /// Denoising forwards, as the papers count them for tokens per forward; those of block editing included.
    public internal(set) var forwards = 0
    /// Forwards run only to compute K/V of finished blocks.
    public internal(set) var commits = 0
    /// Forwards run only to compute K/V of the prompt.
    public internal(set) var prefills = 0
    /// Tokens that replaced another token.
    public internal(set) var edits = 0
    /// What the last `apply` changed, and what the host had changed since the one before.
    public internal(set) var events: [Event] = []

    /// The host's part in `propose`: called when the policy has made its proposal, and free to look and interfere, `setProposal`
    /// and `blockEnds` above all. What it throws is thrown by `propose`. A fork has the same, called with the fork.
    public var rule: ((Decoder) throws(LLaDAError) -> Void)?
    /// Whether the active block is done after the next `apply`; nil: the policy decides. Forgotten at each `apply`.
    public var blockEnds: Bool?

    let denoiser: any Denoiser
    var confidence: Confidence
    let eosIDs: Set<Int32>
    var canvasStore: Canvas
    var progress = BlockProgress()
    var pending: [Event] = []
    var edited: [Edit] = []  // the proposal
    var bans = Bans()
    /// Where the answer ends at the latest.
    var answerEnd: Int

    // The last forward.
    var forwarded = 0..<0
    /// What its predictions were made with.
    var adjustments: [Confidence.Adjustment] = []  // [forwarded.count]
    var logitScratch = Scratch<Float>()  // [forwarded.count, vocab], if anybody asked
    var holdsLogits = false
    let predictedTokens: Buffer<Int32>  // [at least mbeWindow * blockLength]
    let predictedConfidences: Buffer<Float>  // [at least mbeWindow * blockLength]

    /// Where the active block stands in its loop.
    struct BlockProgress {
        var block = 0
        var step = 0
        /// Steps done without a mask.
        var postSteps = 0
        /// The step before changed nothing: the next may not predict the mask.
        var isStuck = false
        /// The block came back to where it had been: no further step may predict the mask.
        var isGoingRound = false
        /// Of this step, the block is in `seen`: forwards may be repeated.
        var isNoted = false
        var seen: Set<[Int32]> = []
        /// Rounds of block editing done; nil before the block has left its loop.
        var editingRounds: Int?
    }

    struct Bans {
        var everywhere: Set<Int32> = []
        var at: [Int: Set<Int32>] = [:]
    }

    /// A decoder on a prompt, which may end in the middle of a block: generated tokens go on from there. Nothing is
    /// computed yet.
    public convenience init(_ model: Model, prompt: [Int32], options: Options = Options()) throws(LLaDAError) {
        guard let maskID = model.maskTokenID else {
            throw LLaDAError(
                .specialToken,
                "the model's mask token is unknown: neither its config nor its tokenizer names it; give mask_token_id")
        }
        let needed = prompt.count.addingReportingOverflow(max(options.genLength, 0))
        try model.config.check(blockLength: options.blockLength, canvas: needed.overflow ? .max : needed.partialValue)
        try model.config.check(prompt)
        try options.checkCaches(model)
        let cancellation = Cancellation()
        let sequence = CachedSequence(
            model.transformer, blockLength: options.blockLength, cache: options.prefixCache, cancellation: cancellation)
        try self.init(
            sequence, compute: model.transformer.compute, maskID: maskID, eosIDs: model.eosTokenIDs, prompt: prompt,
            options: options, cancellation: cancellation)
    }

    package convenience init(
        _ denoiser: any Denoiser, compute: Compute, maskID: Int32, eosIDs: [Int32], prompt: [Int32], options: Options,
        cancellation: Cancellation = Cancellation()
    ) throws(LLaDAError) {
        try options.validate(prompt, maskID)
        let canvas = try Canvas(
            prompt: prompt, genLength: options.genLength, blockLength: options.blockLength, maskID: maskID)
        try self.init(
            denoiser, compute: compute, eosIDs: Set(eosIDs), canvas: canvas, options: options,
            cancellation: cancellation)
        enter(0)
    }

    /// A decoder on a canvas that stands nowhere yet. `window`: positions that may be active, or have been, beyond what the
    /// policy makes active.
    init(
        _ denoiser: any Denoiser, compute: Compute, eosIDs: Set<Int32>, canvas: Canvas, options: Options,
        cancellation: Cancellation, window: Int = 0
    ) throws(LLaDAError) {
        self.denoiser = denoiser
        self.options = options
        self.cancellation = cancellation
        self.eosIDs = eosIDs
        confidence = Confidence(compute: compute, vocabSize: denoiser.vocabSize)
        canvasStore = canvas
        answerEnd = canvas.promptLength + options.genLength
        let most = max(window, min(options.policy.mbeWindow, max(canvas.blockCount, 1)) * options.blockLength)
        predictedTokens = try Buffer(count: most)
        predictedConfidences = try Buffer(count: most)
    }

    /// Where `other` is, in the midst of a step or not. Nothing that either does shows in the other.
    convenience init(copying other: Decoder, _ policy: Policy) throws(LLaDAError) {
        var options = other.options
        options.policy = policy
        let cancellation = Cancellation()
        // What is active may be a window of a policy that came before.
        try self.init(
            other.denoiser.fork(cancellation), compute: other.confidence.compute, eosIDs: other.eosIDs,
            canvas: try Canvas(copying: other.canvasStore), options: options, cancellation: cancellation,
            window: max(other.active.count, other.forwarded.count))
        (phase, finishReason, active, settledLength) = (
            other.phase, other.finishReason, other.active, other.settledLength
        )
        (forwards, commits, prefills, edits) = (other.forwards, other.commits, other.prefills, other.edits)
        (events, pending, edited, bans) = (other.events, other.pending, other.edited, other.bans)
        (progress, answerEnd, blockEnds, rule) = (other.progress, other.answerEnd, other.blockEnds, other.rule)
        (forwarded, adjustments) = (other.forwarded, other.adjustments)
        predictedTokens.pointer.update(from: other.predictedTokens.pointer, count: forwarded.count)
        predictedConfidences.pointer.update(from: other.predictedConfidences.pointer, count: forwarded.count)
    }
}

extension Decoder.Options {
    /// Whether a policy suits the length to generate.
    func check(_ policy: Policy) throws(LLaDAError) {
        try policy.validate()
        if policy.kind == .lowConfidence, genLength > 0, policy.minimalTopk > genLength {
            throw LLaDAError(
                .invalidArgument,
                "policy: minimal_topk is \(policy.minimalTopk); expected at most gen_length, \(genLength)")
        }
    }

    func checkCaches(_ model: Model) throws(LLaDAError) {
        guard let prefixCache else { return }
        guard prefixCache.transformer.isSame(as: model.transformer) else {
            throw LLaDAError(.invalidArgument, "the prefix cache belongs to another model")
        }
        guard useCache else {
            throw LLaDAError(.invalidArgument, "use_cache is false; expected true with a prefix cache")
        }
    }

    fileprivate func validate(_ prompt: [Int32], _ maskID: Int32) throws(LLaDAError) {
        try check(policy)
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
