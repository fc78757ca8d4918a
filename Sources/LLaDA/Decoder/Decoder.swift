/// A decoder: a canvas that is being denoised, block by block. A step is `forward` + `propose` + `apply`. The host may
/// look and interfere between any two of them.
///
/// One thread at a time may use a decoder; only `cancellation` may be used from any thread.
public final class Decoder {
    /// The options of a decoder.
    public struct Options: Sendable {
        /// The number of positions of a block.
        public var blockLength = 32
        /// The most tokens to generate.
        public var genLength = 256
        /// Whether decoding stops as soon as the answer is known to have ended.
        public var eosEarlyStop = true
        /// Whether mask ids in the prompt are positions to fill. Otherwise they are refused (`.specialToken`).
        public var infill = false
        /// Whether keys and values are kept between forwards. False recomputes them at every step, with the same bits,
        /// for comparison.
        public var useCache = true
        /// The cache through which decoders of the model share K/V; nil: none.
        public var prefixCache: PrefixCache?
        /// The numbers of the decoding policy. Nil: `levenshtein` for a model that has tokens for deletion and
        /// insertion (LLaDA2.2), `quality` for others.
        public var policy: Policy?

        public init() {}
    }

    /// The part of a step that is next.
    public enum Phase: Int32, Sendable {
        /// `forward` is next.
        case ready
        /// `propose` is next.
        case forwarded
        /// `apply` is next.
        case proposed
        case finished
    }

    /// What a position of the canvas holds.
    public enum PositionState: UInt8, Sendable {
        /// A token of the prompt.
        case prompt
        /// The mask.
        case masked
        /// A written token that may still be edited.
        case draft
        /// A final token.
        case settled
    }

    /// Why decoding has finished.
    public enum FinishReason: Int32, Sendable {
        /// Decoding has not finished.
        case none
        /// The output ends with an end-of-sequence token.
        case eos
        /// The output ends without an end-of-sequence token.
        case length
    }

    /// A possible token at a position.
    public struct Candidate: BitwiseCopyable, Sendable, Equatable {
        public let token: Int32
        public let logit: Float
        public let probability: Float
    }

    /// When the next block runs along in a forward that may end the active one.
    package enum Riding: Sendable {
        case whereItPays, always, never
    }

    /// The host's part in `propose`: a function that is called after the policy has made its proposal. It may look and
    /// interfere, above all by `setProposal` and `blockEnds`. `propose` rethrows an error that it throws. A fork has
    /// the same rule, which is called with the fork.
    public var rule: ((Decoder) throws(LLaDAError) -> Void)?
    /// Receives how much of a forward is done, 0 to 1, now and then during those that take longer than
    /// `reportInterval`: above all those over a long prompt. An error that it throws ends the forward, which can be
    /// done again, and is rethrown. Of several decoders in one forward, the first one that has a callback is called. A
    /// fork has the same callback.
    public var progress: Progress?
    /// The shortest time between two reports of progress, in nanoseconds.
    static let reportInterval: UInt64 = 50_000_000
    /// A request that ends the running forward, or else the next one, with `.cancelled`. Any thread may use it.
    public var cancellation: Cancellation { sequence.cancellation }

    var state: DecoderState
    let sequence: CachedSequence
    let policy: any DecodingPolicy
    private(set) lazy var look = SecondLook(self)
    let confidence: Confidence
    var logitRows: LogitRows  // of the last forward, as far as anything asked for them
    var keptCandidates: KeptCandidates  // likewise
    /// How many candidates of each position the host wants to be kept; see `keepCandidates`.
    var keptCount = 0
    /// The most candidates of a position that somebody has asked for since the last forward.
    var askedCount = 0
    /// How many candidates the current forward keeps.
    var gatheredCount = 0
    /// The forward that is prepared.
    var pending: Pending?
    /// The progress before the last forward; see `unnoteForward`.
    var beforeForward = (isNoted: false, isGoingRound: false, seen: 0)
    /// Whether somebody has asked for all predictions of the last forward. Then those of the next are made at once.
    var wasAsked = false
    /// Whether all rows of the forward at hand are judged with it: for a rule, or because somebody asked last time.
    var isWatched = false
    /// Whether blocks ride along in forwards that may end the block before; see `rider`. For tests.
    package var riding = Riding.whereItPays
    /// Memory for the rows that a forward runs; see `selectRows`.
    var selected: [Bool] = []
    /// Memory for the host's proposal, until it takes the place of the policy's.
    var spareProposal: [Edit] = []
    /// Whether the decoder is in the list of a running call for several.
    var isListed = false
    /// The most positions that are active at a time.
    package let mostActive: Int

    /// Makes a decoder on a prompt. Nothing is computed yet.
    package convenience init(
        _ sequence: CachedSequence, maskID: Int32, eosIDs: [Int32], editTokens: EditTokens? = nil, prompt: [Int32],
        options: Options
    ) throws(LLaDAError) {
        let denoiser = sequence.denoiser
        let needed = prompt.count.addingReportingOverflow(max(options.genLength, 0))
        try denoiser.config.check(
            blockLength: options.blockLength, canvas: needed.overflow ? .max : needed.partialValue)
        try denoiser.config.check(prompt)
        try options.validate(for: denoiser)
        var options = options
        let policy = options.policy ?? (editTokens == nil ? .quality : .levenshtein)
        options.policy = policy
        try policy.validate(genLength: options.genLength, hasEditTokens: editTokens != nil)
        try options.validate(prompt, maskID)
        guard denoiser.config.vocabSize > 1 else {
            throw LLaDAError(.specialToken, "the vocabulary has 1 token, the mask; expected tokens to write")
        }
        let canvas = try Canvas(
            prompt: prompt, genLength: options.genLength, blockLength: options.blockLength, maskID: maskID)
        try self.init(
            DecoderState(options: options, canvas: canvas, eosIDs: Set(eosIDs), editTokens: editTokens), sequence)
        enter(0)
    }

    /// Makes a decoder that continues from `state`. Throws `.outOfMemory`.
    init(_ state: DecoderState, _ sequence: CachedSequence) throws(LLaDAError) {
        self.state = state
        self.sequence = sequence
        policy = state.policy.decodingPolicy
        confidence = Confidence(compute: sequence.denoiser.compute, vocabSize: sequence.denoiser.config.vocabSize)
        logitRows = LogitRows(in: sequence.denoiser.compute.budget)
        keptCandidates = KeptCandidates(in: sequence.denoiser.compute.budget)
        mostActive = state.mostActive(policy)
        try self.state.reserveCapacity(mostActive: mostActive, policy)
        let rider =
            2 * blockLength <= min(state.canvas.count, Batch.mostRows(blockLength: blockLength)) ? blockLength : 0
        sequence.expect(
            positions: state.canvas.count, window: mostActive, rider: rider, keepsRows: state.policy.refresh != nil)
        if rider > 0 { _ = sequence.denoiser.cost }  // measured now, not in a step
    }
}

extension Decoder.Options {
    /// Throws `.invalidArgument` unless a decoder of this model can have these options.
    func validate(for denoiser: any Denoiser) throws(LLaDAError) {
        if !useCache, policy?.refresh != nil {
            throw LLaDAError(.invalidArgument, "use_cache is false; expected true with a policy that refreshes rows")
        }
        guard let prefixCache else { return }
        guard prefixCache.denoiser === denoiser else {
            throw LLaDAError(.invalidArgument, "the prefix cache belongs to another model")
        }
        guard useCache else {
            throw LLaDAError(.invalidArgument, "use_cache is false; expected true with a prefix cache")
        }
    }

    fileprivate func validate(_ prompt: [Int32], _ maskID: Int32) throws(LLaDAError) {
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
