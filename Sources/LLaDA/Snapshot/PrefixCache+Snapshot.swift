/// A prefix cache as a file: a long prompt is computed once, and not again by the next process.
extension PrefixCache {
    /// Writes all cached blocks, with their pins, to the file `path`, in place of any file there. The file appears
    /// whole or not at all. Decoders may continue during the call. `progress` receives the part done, from 0 to 1. An
    /// error that it throws ends the call and is rethrown. Throws `.io`.
    public func save(to path: String, progress: Progress? = nil) throws(LLaDAError) {
        try withPath(path) { (path) throws(LLaDAError) in try save(to: path, progress: progress) }
    }

    package func save(to path: UnsafePointer<CChar>, progress: Progress?) throws(LLaDAError) {
        let room = try Reserve.Room(memory)
        defer { room.close() }
        let entries = entries
        var body = ByteWriter()
        body.put(entries.count)
        for entry in entries {
            body.put(entry.parent ?? -1)
            body.put(entry.pins)
            body.put(entry.tokens.count)
            body.put(entry.tokens)
        }
        let writer = SnapshotWriter(
            .prefixCache, of: denoiser.fingerprint, body: body.bytes, pages: entries.compactMap(\.page))
        try writer.write(to: path, progress: progress)
    }

    /// Adds the blocks of the file `path`, saved with the same model, to the cache, as if they had just been used.
    /// Returns the number of tokens added. No cached block is removed for them. Blocks without room are left out:
    /// pinned ones come first, then the most recently used. A prefix that is pinned in both gets the larger number of
    /// pins. `progress` is as in `save`; if it ends the call, nothing is added. Throws `.io` if the file cannot be
    /// read, `.snapshot` if it is damaged or of another model or version, and `.outOfMemory`.
    public func load(from path: String, progress: Progress? = nil) throws(LLaDAError) -> Int {
        let source = try SnapshotSource(path: path)
        var reader = try SnapshotReader(source, .prefixCache, of: denoiser.fingerprint) {
            (part) throws(LLaDAError) in
            try progress?(part / 2)
        }
        // A block has at least 28 bytes there, and a few hundred in lists and in the tree.
        let room = try Reserve.Room(64 * reader.remaining)
        defer { room.close() }
        var (entries, offsets) = try Self.entries(&reader, denoiser)
        let (indices, budget) = charge(entries)
        var charged = indices[...]
        let pages = Double(charged.count)
        defer {
            for index in charged { budget.giveBack(denoiser.pageSize(entries[index].tokens.count)) }
        }
        while let index = charged.first {
            let page = try denoiser.makePage(entries[index].tokens.count, budget)
            charged = charged.dropFirst()
            try reader.read(page, at: offsets[index])
            entries[index].page = page
            try progress?(1 - 0.5 * Double(charged.count) / pages)
        }
        return take(entries)
    }

    /// Reads the entries, and the offsets of their pages in the file.
    private static func entries(
        _ reader: inout SnapshotReader, _ denoiser: any Denoiser
    ) throws(LLaDAError) -> ([PrefixTree.Entry], offsets: [Int]) {
        let config = denoiser.config
        var entries: [PrefixTree.Entry] = []
        var offsets: [Int] = []
        var offset = reader.pages.lowerBound
        for index in 0..<(try reader.count("the number of blocks", ofSize: 28)) {
            try Reserve.check()
            let parent = try reader.integer("the block before block \(index)", in: -1...max(index - 1, -1))
            let pins = try reader.integer("the pins of block \(index)", in: 0...Int(Int32.max))
            let length = try reader.integer("the length of block \(index)", in: 1...Int(Int32.max))
            try reader.check { () throws(LLaDAError) in try config.check(blockLength: length, canvas: 0) }
            let tokens = try reader.tokens("a token of block \(index)", length, vocabSize: config.vocabSize)
            if parent >= 0, entries[parent].tokens.count != length {
                throw reader.error("block \(index)", "of \(length) tokens", expected: "as many as the one before")
            }
            let size = denoiser.pageSize(length)
            guard size <= reader.pages.upperBound - offset else {
                throw reader.error("the page of block \(index)", "cut off", expected: "\(size) bytes")
            }
            entries.append(PrefixTree.Entry(tokens: tokens, parent: parent < 0 ? nil : parent, pins: pins))
            offsets.append(offset)
            offset += size
        }
        try reader.expectEnd()
        guard offset == reader.pages.upperBound else {
            throw reader.error("the pages", "\(reader.pages.upperBound - offset) bytes too long", expected: "an end")
        }
        return (entries, offsets)
    }
}
