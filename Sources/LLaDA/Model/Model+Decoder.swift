extension Model {
    /// Returns a decoder on a prompt. The prompt may end in the middle of a block; generated tokens continue there.
    /// Nothing is computed yet. Throws `.specialToken` if the mask id is unknown or stands in a prompt without
    /// `infill`, or if the policy needs ids of deletion and insertion and the model has none; `.invalidArgument` for a
    /// token or an option that the model cannot have, and `.outOfMemory`.
    public func decoder(prompt: [Int32], options: Decoder.Options = Decoder.Options()) throws(LLaDAError) -> Decoder {
        guard let maskTokenID else {
            throw LLaDAError(
                .specialToken,
                "the model's mask token is unknown: neither its config nor its tokenizer names it; give mask_token_id")
        }
        let room = try Reserve.Room(64 * eosTokenIDs.count)
        defer { room.close() }
        let sequence = CachedSequence(transformer, blockLength: options.blockLength, cache: options.prefixCache)
        return try Decoder(
            sequence, maskID: maskTokenID, eosIDs: eosTokenIDs, editTokens: specialTokens.editTokens, prompt: prompt,
            options: options)
    }

    /// Returns a cache for the decoders of this model. `maxBytes` bounds the bytes of keys and values. A token takes
    /// `2 * num_hidden_layers * num_key_value_heads * head_dim` numbers. Throws `.invalidArgument` unless `maxBytes` is
    /// positive.
    public func prefixCache(maxBytes: Int) throws(LLaDAError) -> PrefixCache {
        try PrefixCache(transformer, maxBytes: maxBytes)
    }

    /// Returns the decoder of a snapshot that was made with this model and the same special ids.
    /// The prefix cache gives those pages that it has. `computedPositions` and `reusedPositions` begin at 0.
    ///
    /// Throws `.snapshot` if the snapshot is damaged, or of another model or version; `.invalidArgument` if the prefix
    /// cache belongs to another model, or if the decoder's `useCache` is false and there is a prefix cache; `.state` if
    /// experts are switched off and there is a prefix cache; and `.outOfMemory`. `progress` receives the part done,
    /// from 0 to 1. An error that it throws ends the call and is rethrown.
    public func restore(
        _ snapshot: [UInt8], prefixCache: PrefixCache? = nil, progress: Progress? = nil
    ) throws(LLaDAError) -> Decoder {
        let copy = try Buffer<UInt8>(count: snapshot.count)
        copy.pointer.update(from: snapshot, count: snapshot.count)
        defer { withExtendedLifetime(copy) {} }
        let bytes = UnsafeRawBufferPointer(start: copy.pointer, count: snapshot.count)
        return try restore(bytes, prefixCache: prefixCache, progress: progress)
    }

    /// Restores from memory that the caller keeps unchanged during the call.
    package func restore(
        _ snapshot: UnsafeRawBufferPointer, prefixCache: PrefixCache?, progress: Progress?
    ) throws(LLaDAError) -> Decoder {
        try restore(SnapshotSource(snapshot), prefixCache, progress)
    }

    /// Restores from the file `path`, and throws the same errors, or `.io` if the file cannot be read.
    public func restore(
        file path: String, prefixCache: PrefixCache? = nil, progress: Progress? = nil
    ) throws(LLaDAError) -> Decoder {
        try restore(try SnapshotSource(path: path), prefixCache, progress)
    }

    private func restore(
        _ source: SnapshotSource, _ prefixCache: PrefixCache?, _ progress: Progress?
    ) throws(LLaDAError) -> Decoder {
        try Decoder(
            transformer, maskID: maskTokenID, eosIDs: eosTokenIDs, editTokens: specialTokens.editTokens,
            restoring: source, prefixCache: prefixCache, progress: progress)
    }
}
