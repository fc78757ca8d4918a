/// A sequence, and noisy versions of it whose tokens a model judges.
///
/// Block b of a version sees itself in both directions, and the sequence's own blocks before b. The report calls this
/// the concatenation of x_t and x_0 (2.0, eq. 3; spec: training.md). So all blocks of a version are denoised at once,
/// each as by a decoder that has come to it.
public struct NoisedSequence {
    /// The sequence x_0, the prompt first.  [count]
    public var tokens: UnsafeBufferPointer<Int32>
    /// The noisy versions x_t; each equals `tokens` in the prompt.  [versions, count]
    public var noisy: UnsafeBufferPointer<Int32>
    /// The number of noisy versions.
    public var versions: Int
    /// The number of leading tokens that belong to the prompt and are not scored.
    public var promptLength: Int

    public init(
        tokens: UnsafeBufferPointer<Int32>, noisy: UnsafeBufferPointer<Int32>, versions: Int, promptLength: Int
    ) {
        self.tokens = tokens
        self.noisy = noisy
        self.versions = versions
        self.promptLength = promptLength
    }

    func noisyToken(_ version: Int, _ position: Int) -> Int32 { noisy[version * tokens.count + position] }

    func check(_ config: ModelConfig, index: Int) throws(LLaDAError) {
        func refuse(_ what: String) -> LLaDAError { LLaDAError(.invalidArgument, "sequence \(index): \(what)") }
        guard tokens.count <= config.maxPositionEmbeddings else {
            throw refuse(
                "it has \(tokens.count) tokens; the model has max_position_embeddings \(config.maxPositionEmbeddings)")
        }
        guard 0...tokens.count ~= promptLength else {
            throw refuse("prompt_length is \(promptLength); expected 0 to \(tokens.count)")
        }
        let (needed, overflow) = tokens.count.multipliedReportingOverflow(by: versions)
        guard versions >= 0, !overflow, noisy.count == needed else {
            throw refuse("\(noisy.count) noisy tokens; expected \(versions) versions of \(tokens.count)")
        }
        for (name, ids) in [("token", tokens), ("noisy token", noisy)] {
            for (place, token) in ids.enumerated() where !(0..<config.vocabSize ~= Int(token)) {
                throw refuse("\(name) \(place) is \(token); expected 0 to \(config.vocabSize - 1)")
            }
        }
        if promptLength == 0 { return }  // nothing bounds the number of versions of an empty sequence
        for version in 0..<versions {
            for position in 0..<promptLength where noisyToken(version, position) != tokens[position] {
                throw refuse("position \(position) of version \(version) is of the prompt, and not its token")
            }
        }
    }
}

/// Buffers for the results of `Model.score`, sequence by sequence, each [versions, count]. A buffer of nil is not
/// filled. Positions that are not scored get NaN, or -1 for a token.
public struct ScoreBuffers {
    /// The log-probability of the sequence's own token, in nats.
    public var logProbabilities: UnsafeMutableBufferPointer<Float>?
    /// The most likely token, ties by lower id: what a decoder has as its prediction.
    public var predictions: UnsafeMutableBufferPointer<Int32>?
    /// The probability of the most likely token: what a decoder has as its confidence.
    public var confidences: UnsafeMutableBufferPointer<Float>?
    /// The entropy of the distribution over all tokens, in nats.
    public var entropies: UnsafeMutableBufferPointer<Float>?

    public init() {}

    func check(_ needed: Int) throws(LLaDAError) {
        let rooms = [logProbabilities?.count, predictions?.count, confidences?.count, entropies?.count].compactMap {
            $0
        }
        for room in rooms where room < needed {
            throw LLaDAError(
                .bufferTooSmall, "room for \(room) positions; expected \(needed), all versions of all sequences")
        }
    }

    func clear(_ count: Int) {
        for floats in [logProbabilities, confidences, entropies].compactMap({ $0 }) {
            for index in 0..<count { floats[index] = .nan }
        }
        if let predictions {
            for index in 0..<count { predictions[index] = -1 }
        }
    }
}
