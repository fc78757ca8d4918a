/// The ids of the mask and of the end of a sequence: from the caller, the config files, the tokenizer, or the values of
/// LLaDA2.x, in this order.
struct SpecialTokens {
    let config: ModelConfig
    let tokenizer: Tokenizer?
    let options: Model.Options

    init(_ config: ModelConfig, _ tokenizer: Tokenizer?, _ options: Model.Options) {
        self.config = config
        self.tokenizer = tokenizer
        self.options = options
    }

    func mask() throws(LLaDAError) -> Int32? {
        if let given = options.maskTokenID { return try check(given, "mask_token_id") }
        if let id = config.maskTokenID { return Int32(id) }
        return known(tokenizer?.id(of: "<|mask|>")) ?? known(156_895)
    }

    func endOfSequence() throws(LLaDAError) -> [Int32] {
        for id in options.eosTokenIDs { _ = try check(id, "eos_token_id") }
        if !options.eosTokenIDs.isEmpty { return options.eosTokenIDs }
        if !config.eosTokenIDs.isEmpty { return config.eosTokenIDs.map { Int32($0) } }
        return [known(tokenizer?.id(of: "<|endoftext|>")) ?? known(156_892)].compactMap { $0 }
    }

    private func known(_ id: Int32?) -> Int32? { id.flatMap { 0..<config.vocabSize ~= Int($0) ? $0 : nil } }

    private func check(_ id: Int32, _ name: String) throws(LLaDAError) -> Int32 {
        guard 0..<config.vocabSize ~= Int(id) else {
            throw LLaDAError(.invalidArgument, "\(name) is \(id); expected 0 to \(config.vocabSize - 1)")
        }
        return id
    }
}
