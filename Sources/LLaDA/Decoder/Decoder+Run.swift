/// Loops over steps.
extension Decoder {
    /// Steps until the end. `afterStep` may return false to stop, with `.stopped`; a later run goes on from there.
    public func run(_ afterStep: ((Decoder) -> Bool)? = nil) throws(LLaDAError) {
        while !isFinished { try step(then: afterStep) }
    }

    /// Steps until the active block is done, its revisiting included, or until the end.
    public func runBlock(_ afterStep: ((Decoder) -> Bool)? = nil) throws(LLaDAError) {
        try checkUnfinished("run_block")
        let block = progress.block
        while !isFinished, progress.block == block { try step(then: afterStep) }
    }

    /// The events of one step more; nil at the end.
    public func next() throws(LLaDAError) -> [Event]? {
        if isFinished { return nil }
        try step()
        return events
    }

    private func step(then afterStep: ((Decoder) -> Bool)?) throws(LLaDAError) {
        try step()
        if let afterStep, !afterStep(self) {
            throw LLaDAError(.stopped, "the step callback asked to stop")
        }
    }
}

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
        _ prompt: [Int32], options: Decoder.Options = Decoder.Options(), afterStep: ((Decoder) -> Bool)? = nil
    ) throws(LLaDAError) -> Generation {
        let decoder = try Decoder(self, prompt: prompt, options: options)
        try decoder.run(afterStep)
        let tokens = decoder.output
        return Generation(
            tokens: tokens, text: try tokenizer?.decode(tokens, skipSpecialTokens: true), forwards: decoder.forwards,
            commits: decoder.commits, edits: decoder.edits, finishReason: decoder.finishReason)
    }
}
