/// The ids of the mask, of the end of a sequence, and of deletion and insertion, and where each was found: given by the
/// caller, in the config files, in the tokenizer, or known of LLaDA2.x, in this order. The mask ends no sequence, and
/// no other model than one of LLaDA2.2 deletes and inserts.
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
    /// The ids that stand for deletion and insertion; nil if the model has none.
    package let edits: (tokens: EditTokens, sources: (delete: Source, split: Source))?
    package var editTokens: EditTokens? { edits?.tokens }
    /// What was left out of the lists of files, a sentence each.
    package let notes: [String]

    /// Finds the ids. Throws `.invalidArgument` for an id of the caller that is out of range, or that has two meanings,
    /// and `.config` for an id of deletion or insertion in a file that has.
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
        for (id, name) in [(options.deleteTokenID, "delete_token_id"), (options.splitTokenID, "split_token_id")] {
            if let id { try check(id, name) }
        }
        edits = try Self.findEdits(config, options, mask?.id, ends?.ids ?? [])
        self.notes = notes
    }

    /// Finds the ids of deletion and insertion: both, or neither. Neither is the other, the mask or an end.
    private static func findEdits(
        _ config: ModelConfig, _ options: Model.Options, _ mask: Int32?, _ ends: [Int32]
    ) throws(LLaDAError) -> (tokens: EditTokens, sources: (delete: Source, split: Source))? {
        func find(
            _ given: Int32?, _ ofFile: (ModelConfig.SpecialIDs) -> Int?
        ) -> (id: Int32, source: Source)? {
            if let given { return (given, .caller) }
            for place in config.specialIDs {
                if let id = ofFile(place) { return (Int32(id), .file(place.file)) }
            }
            return nil
        }
        func refusal(_ key: String, _ source: Source, _ found: String, _ expected: String) -> LLaDAError {
            guard case .file(let file) = source else {
                return LLaDAError(.invalidArgument, "\(key) is \(found); expected \(expected)")
            }
            return LLaDAError(.config, file: file, key: key, found: found, expected: expected)
        }
        let keys = (delete: "delete_token_id", split: "split_token_id")
        switch (find(options.deleteTokenID, \.delete), find(options.splitTokenID, \.split)) {
        case (nil, nil): return nil
        case (let delete?, nil):
            throw refusal(keys.split, delete.source, "missing", "an id, as \(keys.delete) is \(delete.id)")
        case (nil, let split?):
            throw refusal(keys.delete, split.source, "missing", "an id, as \(keys.split) is \(split.id)")
        case (let delete?, let split?):
            for (key, place) in [(keys.delete, delete), (keys.split, split)] {
                if place.id == mask {
                    throw refusal(key, place.source, "\(place.id)", "another id than that of the mask")
                }
                if ends.contains(place.id) {
                    throw refusal(key, place.source, "\(place.id)", "an id that ends no sequence")
                }
            }
            if delete.id == split.id {
                throw refusal(keys.split, split.source, "\(split.id)", "another id than \(keys.delete)")
            }
            return (EditTokens(delete: delete.id, split: split.id), (delete.source, split.source))
        }
    }
}
