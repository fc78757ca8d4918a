import LLaDA

/// The timing of an answer, from the first forward over masks to the last. The prompt's keys and values are computed
/// before.
struct GenerationTiming {
    let policy: String
    let prompt: [Int32]
    let maskID: Int32
    let eosIDs: [Int32]
    let editTokens: EditTokens?
    let options: Decoder.Options
    private(set) var seconds: [Double] = []
    // These are the same in each round.
    private(set) var tokens = 0
    private(set) var forwards = 0
    private(set) var edits = 0

    init(
        policy: String, prompt: [Int32], maskID: Int32, eosIDs: [Int32], editTokens: EditTokens?,
        options: Decoder.Options
    ) {
        self.policy = policy
        self.prompt = prompt
        self.maskID = maskID
        self.eosIDs = eosIDs
        self.editTokens = editTokens
        self.options = options
    }

    var tokensPerForward: Double { Double(tokens) / Double(max(forwards, 1)) }
    var tokensPerSecond: Double { Double(tokens) / median(seconds) }

    mutating func round(_ transformer: Transformer) throws {
        let sequence = CachedSequence(transformer, blockLength: options.blockLength)
        let decoder = try Decoder(
            sequence, maskID: maskID, eosIDs: eosIDs, editTokens: editTokens, prompt: prompt, options: options)
        let whole = prompt.count / options.blockLength * options.blockLength
        if whole > 0 {
            try prompt.withUnsafeBufferPointer {
                try sequence.prepare($0, active: whole - options.blockLength..<whole, asOneBlock: false).run()
            }
        }
        seconds.append(try llada_bench.seconds { try decoder.run() })
        tokens = decoder.output.count
        forwards = decoder.forwards
        edits = decoder.edits
    }
}
