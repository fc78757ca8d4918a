extension Model {
    /// Computes the logits of a whole sequence under the strict block-causal mask. The logits at position i are about
    /// the token AT position i.  out: [tokens.count, vocabSize]
    ///
    /// `progress` receives the part done, from 0 to 1, several times in each layer of each forward of about 512
    /// positions, and as their logits are computed. An error that it throws ends the call and is rethrown.
    ///
    /// Throws `.invalidArgument` for a token or block length out of range or too many tokens, `.bufferTooSmall`,
    /// `.numeric` for weights that give NaN or infinities, and `.outOfMemory`.
    public func logits(
        _ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, into out: UnsafeMutableBufferPointer<Float>,
        progress: Progress? = nil
    ) throws(LLaDAError) {
        try config.check(blockLength: blockLength, canvas: tokens.count)
        try config.check(tokens)
        let (needed, overflow) = tokens.count.multipliedReportingOverflow(by: config.vocabSize)
        guard !overflow, out.count >= needed else {
            throw LLaDAError(
                .bufferTooSmall,
                "room for \(out.count) logits; expected \(tokens.count) tokens times \(config.vocabSize)")
        }
        guard let base = out.baseAddress, tokens.count > 0 else { return }
        let sequence = CachedSequence(transformer, blockLength: blockLength)
        let piece = Batch.mostRows(blockLength: blockLength)
        for start in stride(from: 0, to: tokens.count, by: piece) {
            let active = start..<min(start + piece, tokens.count)
            // The head is worth about as much as the layers.
            let half = Double(active.count) / 2
            func report(_ halves: Double) throws(LLaDAError) {
                try progress?((Double(start) + half * halves) / Double(tokens.count))
            }
            try sequence.prepare(tokens, active: active, asOneBlock: false).run { (part) throws(LLaDAError) in
                try report(part)
            }
            try sequence.states?.allLogits(
                rows: active.count, transformer.compute.team, into: base + start * config.vocabSize
            ) { (part) throws(LLaDAError) in
                try report(1 + part)
            }
            for position in active {
                try Peak.check(base + position * config.vocabSize, config.vocabSize, position: position)
            }
        }
    }
}
