extension Model {
    /// A decoder on a prompt, which may end in the middle of a block: generated tokens go on from there. Nothing is
    /// computed yet.
    public func decoder(prompt: [Int32], options: Decoder.Options = Decoder.Options()) throws(LLaDAError) -> Decoder {
        guard let maskTokenID else {
            throw LLaDAError(
                .specialToken,
                "the model's mask token is unknown: neither its config nor its tokenizer names it; give mask_token_id")
        }
        let sequence = CachedSequence(transformer, blockLength: options.blockLength, cache: options.prefixCache)
        return try Decoder(sequence, maskID: maskTokenID, eosIDs: eosTokenIDs, prompt: prompt, options: options)
    }

    /// A cache for the decoders of this model. `maxBytes`: of keys and values. A token takes
    /// 2 * num_hidden_layers * num_key_value_heads * head_dim numbers.
    public func prefixCache(maxBytes: Int) throws(LLaDAError) -> PrefixCache {
        try PrefixCache(transformer, maxBytes: maxBytes)
    }

    /// The decoder that a snapshot was made of, under this model and under its ids of mask and end. What a prefix cache
    /// has of the pages is taken from there. `computedPositions` and `reusedPositions` begin anew.
    public func restore(_ snapshot: [UInt8], prefixCache: PrefixCache? = nil) throws(LLaDAError) -> Decoder {
        let copy = try Buffer<UInt8>(count: snapshot.count)
        copy.pointer.update(from: snapshot, count: snapshot.count)
        defer { withExtendedLifetime(copy) {} }
        let bytes = UnsafeRawBufferPointer(start: copy.pointer, count: snapshot.count)
        return try restore(bytes, prefixCache: prefixCache)
    }

    /// The same from memory that stays as it is meanwhile.
    package func restore(_ snapshot: UnsafeRawBufferPointer, prefixCache: PrefixCache?) throws(LLaDAError) -> Decoder {
        try restore(SnapshotSource(snapshot), prefixCache)
    }

    /// The same from the file `path`.
    public func restore(file path: String, prefixCache: PrefixCache? = nil) throws(LLaDAError) -> Decoder {
        try restore(try SnapshotSource(path: path), prefixCache)
    }

    private func restore(_ source: SnapshotSource, _ prefixCache: PrefixCache?) throws(LLaDAError) -> Decoder {
        try Decoder(
            transformer, maskID: maskTokenID, eosIDs: eosTokenIDs, restoring: source, prefixCache: prefixCache)
    }
}
