/// A decoder as bytes, and back, in this process or another.
extension Decoder {
    /// All that decides how decoding goes on: options and policy, canvas, locks, bans, counters, the last forward and the
    /// proposal. With its pages of keys and values nothing is computed again; without them, what stands before the active
    /// block is, at the next forward. Either way it goes on as this one would, bit for bit. A rule and what `watch` keeps are not
    /// part of it.
    public func snapshot(includingPages: Bool = false) throws(LLaDAError) -> [UInt8] {
        let writer = try snapshotWriter(includingPages: includingPages)
        var failure: LLaDAError?
        let bytes = [UInt8](unsafeUninitializedCapacity: writer.byteCount) { buffer, count in
            do throws(LLaDAError) {
                try writer.write(
                    into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: writer.byteCount))
                count = writer.byteCount
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The same as a file, which appears whole or not at all, in place of one that was there.
    public func save(to path: String, includingPages: Bool = false) throws(LLaDAError) {
        try withPath(path) { (path) throws(LLaDAError) in try save(to: path, includingPages: includingPages) }
    }

    package func save(to path: UnsafePointer<CChar>, includingPages: Bool) throws(LLaDAError) {
        try snapshotWriter(includingPages: includingPages).write(to: path)
    }

    /// Writes the snapshot if there is room for it, and says how many bytes that are in any case.
    package func snapshot(into out: UnsafeMutableRawBufferPointer, includingPages: Bool) throws(LLaDAError) -> Int {
        let writer = try snapshotWriter(includingPages: includingPages)
        if writer.byteCount <= out.count { try writer.write(into: out) }
        return writer.byteCount
    }

    private func snapshotWriter(includingPages: Bool) throws(LLaDAError) -> SnapshotWriter {
        guard let sequence = denoiser as? CachedSequence else {
            throw LLaDAError(
                .unsupported, "the decoder's model is none that was opened, and cannot be named in a snapshot")
        }
        let pages = includingPages && options.useCache ? sequence.savedPages(canvas) : []
        var body = ByteWriter()
        write(to: &body, states: sequence.savedStates)
        let disabled = sequence.expertMask?.all ?? []
        body.put(disabled.count)
        for (layer, expert) in disabled {
            body.put(layer)
            body.put(expert)
        }
        body.put(pages.count)
        return SnapshotWriter(.decoder, of: sequence.transformer.fingerprint, body: body.bytes, pages: pages)
    }

    /// The decoder that was saved under this model, and under its ids of mask and end. What a prefix cache has of the pages is
    /// taken from there. `computedPositions` and `reusedPositions` begin anew.
    public convenience init(
        _ model: Model, restoring snapshot: [UInt8], prefixCache: PrefixCache? = nil
    ) throws(LLaDAError) {
        let copy = try Buffer<UInt8>(count: snapshot.count)
        copy.pointer.update(from: snapshot, count: snapshot.count)
        defer { withExtendedLifetime(copy) {} }
        let bytes = UnsafeRawBufferPointer(start: copy.pointer, count: snapshot.count)
        try self.init(model, SnapshotSource(bytes), prefixCache)
    }

    /// The same from memory that stays as it is meanwhile.
    package convenience init(
        _ model: Model, restoring snapshot: UnsafeRawBufferPointer, prefixCache: PrefixCache?
    ) throws(LLaDAError) {
        try self.init(model, SnapshotSource(snapshot), prefixCache)
    }

    /// The same from the file `path`.
    public convenience init(
        _ model: Model, restoringFile path: String, prefixCache: PrefixCache? = nil
    ) throws(LLaDAError) {
        try self.init(model, try SnapshotSource(path: path), prefixCache)
    }

    private convenience init(_ model: Model, _ source: SnapshotSource, _ prefixCache: PrefixCache?) throws(LLaDAError) {
        var reader = try SnapshotReader(source, .decoder, of: model.transformer.fingerprint)
        let record = try DecoderRecord(&reader, model)
        let disabled = try DecoderRecord.disabledExperts(&reader, model.config)
        let size = model.transformer.pageSize(record.options.blockLength)
        let blocks = try reader.integer("the number of pages", in: 0...record.canvas.blockCount)
        guard reader.pages.count == blocks * size else {
            throw reader.error("the size of \(blocks) pages", reader.pages.count, expected: "\(blocks * size)")
        }
        try reader.expectEnd()

        var options = record.options
        options.prefixCache = prefixCache
        try options.checkCaches(model)
        let cancellation = Cancellation()
        let sequence = CachedSequence(
            model.transformer, blockLength: options.blockLength, cache: prefixCache, cancellation: cancellation)
        try self.init(
            sequence, compute: model.transformer.compute, eosIDs: Set(model.eosTokenIDs), canvas: record.canvas,
            options: options, cancellation: cancellation, window: max(record.active.count, record.forwarded.count))
        record.write(to: self)
        for (layer, expert) in disabled { try sequence.setExpert(layer: layer, expert: expert, isDisabled: true) }
        if let states = record.finalStates { try sequence.restore(states: states, rows: record.forwarded.count) }
        try sequence.restore(canvas, blocks: blocks) { (block, page) throws(LLaDAError) in
            try reader.read(page, at: reader.pages.lowerBound + block * size)
        }
    }
}
