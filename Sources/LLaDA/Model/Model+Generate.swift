extension Model {
    /// What `generate` came to.
    public struct Generation: Sendable {
        /// Up to and including the first end-of-sequence token.
        public let tokens: [Int32]
        /// Nil without a tokenizer; control tokens left out.
        public let text: String?
        public let forwards: Int
        public let commits: Int
        public let edits: Int
        public let finishReason: Decoder.FinishReason

        /// Tokens per forward.
        public var tpf: Double { forwards == 0 ? 0 : Double(tokens.count) / Double(forwards) }
    }

    /// From prompt to answer in one call.
    public func generate(
        _ prompt: [Int32], options: Decoder.Options = Decoder.Options(),
        afterStep: ((Decoder) throws(LLaDAError) -> Void)? = nil
    ) throws(LLaDAError) -> Generation {
        let decoder = try decoder(prompt: prompt, options: options)
        try decoder.run(afterStep)
        let tokens = decoder.output
        return Generation(
            tokens: tokens, text: try tokenizer?.decode(tokens, skipSpecialTokens: true), forwards: decoder.forwards,
            commits: decoder.commits, edits: decoder.edits, finishReason: decoder.finishReason)
    }
}
