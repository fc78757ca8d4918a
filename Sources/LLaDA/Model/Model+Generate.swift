extension Model {
    /// The result of `generate`.
    public struct Generation: Sendable {
        /// The generated tokens, up to and including the first end-of-sequence token.
        public let tokens: [Int32]
        /// The text of the tokens without control tokens; nil if the model has no tokenizer.
        public let text: String?
        /// The counts of the decoder: see `Decoder.forwards`.
        public let forwards: Int
        /// See `Decoder.commits`.
        public let commits: Int
        /// See `Decoder.edits`.
        public let edits: Int
        /// See `Decoder.insertions`.
        public let insertions: Int
        /// See `Decoder.deletions`.
        public let deletions: Int
        public let finishReason: Decoder.FinishReason

        /// The number of tokens per forward.
        public var tpf: Double { forwards == 0 ? 0 : Double(tokens.count) / Double(forwards) }
    }

    /// Generates an answer to a prompt in one call. `afterStep` is called after each step. An error that it throws ends
    /// the call and is rethrown. Throws what `decoder(prompt:options:)` and `Decoder.run` throw.
    public func generate(
        _ prompt: [Int32], options: Decoder.Options = Decoder.Options(),
        afterStep: (Decoder) throws(LLaDAError) -> Void = { (_) throws(LLaDAError) in }
    ) throws(LLaDAError) -> Generation {
        let decoder = try decoder(prompt: prompt, options: options)
        try decoder.run(afterStep)
        let tokens = decoder.output
        return Generation(
            tokens: tokens, text: try tokenizer?.decode(tokens, skipSpecialTokens: true), forwards: decoder.forwards,
            commits: decoder.commits, edits: decoder.edits, insertions: decoder.insertions,
            deletions: decoder.deletions, finishReason: decoder.finishReason)
    }
}
