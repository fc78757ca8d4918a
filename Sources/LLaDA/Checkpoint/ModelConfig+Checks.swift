/// Checks of what a caller asks of a model of this config.
extension ModelConfig {
    /// Returns the config with this expert capacity; 0 keeps the capacity of the file. Throws `.invalidArgument`.
    package func withExpertCapacity(_ capacity: Int) throws(LLaDAError) -> ModelConfig {
        if capacity == 0 { return self }
        guard numExpertsPerTok...max(numExpertsPerTok, numExperts) ~= capacity, numExperts > 0 else {
            throw LLaDAError(
                .invalidArgument, "expert_capacity is \(capacity); expected 0, or \(numExpertsPerTok) to \(numExperts)")
        }
        var config = self
        config.expertCapacity = capacity
        return config
    }

    /// Throws `.invalidArgument` unless this model can run a canvas of `canvas` positions in blocks of `blockLength`.
    package func check(blockLength: Int, canvas: Int) throws(LLaDAError) {
        guard 1...maxPositionEmbeddings ~= blockLength else {
            throw LLaDAError(.invalidArgument, "block_length is \(blockLength); expected 1 to \(maxPositionEmbeddings)")
        }
        guard expertCapacity == 0 || blockLength % blockSize == 0 else {
            throw LLaDAError(
                .invalidArgument,
                "block_length is \(blockLength); expected a multiple of \(blockSize), the model's routing block")
        }
        guard canvas <= maxPositionEmbeddings else {
            throw LLaDAError(
                .invalidArgument,
                "\(canvas) positions are needed; the model has max_position_embeddings \(maxPositionEmbeddings)")
        }
    }

    /// Throws `.invalidArgument` if a token is not of the vocabulary.
    package func check(_ tokens: some Sequence<Int32>) throws(LLaDAError) {
        for (index, token) in tokens.enumerated() where !(0..<vocabSize ~= Int(token)) {
            throw LLaDAError(.invalidArgument, "token \(index) is \(token); expected 0 to \(vocabSize - 1)")
        }
    }
}
