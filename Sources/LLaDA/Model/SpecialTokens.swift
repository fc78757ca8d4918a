/// The ids of the mask and of the end of a sequence, and where each was found: given by the caller, in the config
/// files, in the tokenizer, or known of LLaDA2.x, in this order. The mask ends no sequence.
package struct SpecialTokens: Sendable {
    /// The place where an id was found.
    package enum Source: Sendable, Equatable {
        case caller
        case file(String)
        case tokenizer(String)
        case known

        /// What a message or a table calls the place.
        package var name: String {
            switch self {
            case .caller: "the caller"
            case .file(let name): name
            case .tokenizer(let token): "\(token) of tokenizer.json"
            case .known: "the id of LLaDA2.x"
            }
        }
    }

    /// The id of the mask; nil if it is unknown.
    package let mask: (id: Int32, source: Source)?
    /// The ids that end a sequence, all from one place; nil if none is known.
    package let ends: (ids: [Int32], source: Source)?
    /// What was left out of the lists of files, a sentence each.
    package let notes: [String]

    /// Finds the ids. Throws `.invalidArgument` for an id of the caller that is out of range, or that is both mask and
    /// end.
    package init(_ config: ModelConfig, _ tokenizer: Tokenizer?, _ options: Model.Options) throws(LLaDAError) {
        func known(_ id: Int32?) -> Int32? { id.flatMap { 0..<config.vocabSize ~= Int($0) ? $0 : nil } }
        func find(_ token: String, _ usual: Int32) -> (id: Int32, source: Source)? {
            if let id = known(tokenizer?.id(of: token)) { return (id, .tokenizer(token)) }
            return known(usual).map { ($0, .known) }
        }
        func check(_ id: Int32, _ name: String) throws(LLaDAError) {
            if known(id) == nil {
                throw LLaDAError(.invalidArgument, "\(name) is \(id); expected 0 to \(config.vocabSize - 1)")
            }
        }

        let mask: (id: Int32, source: Source)?
        if let given = options.maskTokenID {
            try check(given, "mask_token_id")
            mask = (given, .caller)
        } else if let place = config.specialIDs.first(where: { $0.mask != nil }), let id = place.mask {
            mask = (Int32(id), .file(place.file))
        } else {
            mask = find("<|mask|>", 156_895)
        }
        self.mask = mask

        for id in options.eosTokenIDs {
            try check(id, "eos_token_id")
            if let mask, id == mask.id {
                throw LLaDAError(
                    .invalidArgument,
                    "eos_token_id is \(id), which is the mask by \(mask.source.name); expected another id")
            }
        }
        var notes: [String] = []
        var ends: (ids: [Int32], source: Source)?
        if !options.eosTokenIDs.isEmpty { ends = (options.eosTokenIDs, .caller) }
        for place in config.specialIDs where ends == nil && !place.ends.isEmpty {
            let ids = place.ends.map { Int32($0) }.filter { $0 != mask?.id }
            if let mask, ids.count < place.ends.count {
                // The mask as the only end of a file is a mistake of the caller's more likely than of the file's.
                if ids.isEmpty, mask.source == .caller {
                    throw LLaDAError(
                        .invalidArgument,
                        "mask_token_id is \(mask.id), which ends a sequence by \(place.file); expected another id")
                }
                notes.append("left \(mask.id) out of eos_token_id of \(place.file): it is the mask")
            }
            if !ids.isEmpty { ends = (ids, .file(place.file)) }
        }
        if ends == nil, let (id, source) = find("<|endoftext|>", 156_892), id != mask?.id { ends = ([id], source) }
        self.ends = ends
        self.notes = notes
    }
}
