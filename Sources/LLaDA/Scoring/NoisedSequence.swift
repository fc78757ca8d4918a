/// A sequence, and noisy versions of it whose tokens are to be judged by a model.
///
/// The version's block b is seen beside the sequence's blocks before b, itself in both directions: what the report
/// calls the concatenation of x_t and x_0 (2.0, eq. 3; spec: training.md). So all blocks of a version are denoised at
/// once, each as a decoder would that has come to it.
public struct NoisedSequence {
    /// x_0, the prompt first.  [count]
    public var tokens: UnsafeBufferPointer<Int32>
    /// x_t; the same as `tokens` in the prompt.  [versions, count]
    public var noisy: UnsafeBufferPointer<Int32>
    public var versions: Int
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
        if promptLength == 0 { return }  // nothing bounds the versions of an empty sequence
        for version in 0..<versions {
            for position in 0..<promptLength where noisyToken(version, position) != tokens[position] {
                throw refuse("position \(position) of version \(version) is of the prompt, and not its token")
            }
        }
    }
}

/// What a model makes of the scored positions of noisy versions, sequence by sequence, each [versions, count].
/// Positions that are not scored get NaN, and -1 for a token. Nil: not wanted.
public struct ScoreBuffers {
    /// Of the sequence's own token, in nats.
    public var logProbabilities: UnsafeMutableBufferPointer<Float>?
    /// The most likely token, ties by lower id, and its probability: what a decoder has as predictions and confidences.
    public var predictions: UnsafeMutableBufferPointer<Int32>?
    public var confidences: UnsafeMutableBufferPointer<Float>?
    /// Of the distribution over all tokens, in nats.
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
