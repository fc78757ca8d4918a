/// A decoder as bytes, and back, in this process or another.
extension Decoder {
    /// Returns all that decides how decoding goes on: options and policy, canvas, locks, bans, biases, counters, the
    /// last forward and the proposal. With its pages of keys and values, nothing is computed again. Without them, the
    /// next forward computes what stands before the active block. Either way the restored decoder continues as this one
    /// would, bit for bit; with a policy that refreshes a part of the rows, pages are always included, because they are
    /// those of no other forward. The rule and the records of `watch` are not part of a snapshot. `progress` receives
    /// the part done, from 0 to 1. An error that it throws ends the call and is rethrown.
    public func snapshot(includingPages: Bool = false, progress: Progress? = nil) throws(LLaDAError) -> [UInt8] {
        let writer = try snapshotWriter(includingPages: includingPages)
        var failure: LLaDAError?
        let bytes = [UInt8](unsafeUninitializedCapacity: writer.byteCount) { buffer, count in
            do throws(LLaDAError) {
                try writer.write(
                    into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: writer.byteCount),
                    progress: progress)
                count = writer.byteCount
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Writes the snapshot to the file `path`, in place of any file there. The file appears whole or not at all.
    /// `progress` is as in `snapshot`. Throws `.io`.
    public func save(
        to path: String, includingPages: Bool = false, progress: Progress? = nil
    ) throws(LLaDAError) {
        try withPath(path) { (path) throws(LLaDAError) in
            try save(to: path, includingPages: includingPages, progress: progress)
        }
    }

    package func save(
        to path: UnsafePointer<CChar>, includingPages: Bool, progress: Progress?
    ) throws(LLaDAError) {
        try snapshotWriter(includingPages: includingPages).write(to: path, progress: progress)
    }

    /// Writes the snapshot if there is room for it. Returns its number of bytes in any case.
    package func snapshot(
        into out: UnsafeMutableRawBufferPointer, includingPages: Bool, progress: Progress?
    ) throws(LLaDAError) -> Int {
        let writer = try snapshotWriter(includingPages: includingPages)
        if writer.byteCount <= out.count { try writer.write(into: out, progress: progress) }
        return writer.byteCount
    }

    private func snapshotWriter(includingPages: Bool) throws(LLaDAError) -> SnapshotWriter {
        // Copies of all that the state has, and the bytes of it, in arrays that double.
        let room = try Reserve.Room(state.byteCount + 32 * sequence.savedStates.count)
        defer { room.close() }
        let parts = state.policy.refresh != nil
        let saved =
            (includingPages || parts) && options.useCache
            ? sequence.savedPages(canvas, parts: parts) : CachedSequence.SavedPages()
        var body = ByteWriter()
        var state = state
        let states = sequence.savedStates
        let rows = state.predictions.positions.isEmpty ? state.kept.positions.count : state.predictions.positions.count
        if states.count != rows * sequence.denoiser.config.hiddenSize { state.kept.clear() }
        // The tokens with which the block ran go with its pages, which a stopped forward may have given up.
        if sequence.computed.count < state.active.upperBound { state.noteChanges() }
        try state.code(&body, sequence.denoiser.config)
        if !state.predictions.positions.isEmpty || !state.kept.positions.isEmpty {
            body.put(UnsafeRawBufferPointer(states))
        }
        let disabled = sequence.expertMask?.all ?? []
        body.put(disabled.count)
        for (layer, expert) in disabled {
            body.put(layer)
            body.put(expert)
        }
        body.put(saved.pages.count)
        body.put(saved.exactLength)
        if parts { for token in saved.tokens { body.put(token) } }
        // A block that has run along needs its page.
        let rider = sequence.savedRider(canvas).flatMap { $0.block < saved.pages.count ? $0 : nil }
        body.put(rider?.block ?? -1)
        if let rider { body.put(UnsafeRawBufferPointer(rider.states)) }
        return SnapshotWriter(.decoder, of: sequence.denoiser.fingerprint, body: body.bytes, pages: saved.pages)
    }

    /// Restores the decoder that was saved with this model and the same special ids. The prefix cache gives those pages
    /// that it has. `computedPositions` and `reusedPositions` begin at 0. `progress` receives the part done: half for
    /// the checksum, half for the pages.
    convenience init(
        _ denoiser: any Denoiser, maskID: Int32?, eosIDs: [Int32], editTokens: EditTokens? = nil,
        restoring source: SnapshotSource, prefixCache: PrefixCache?, progress: Progress? = nil
    ) throws(LLaDAError) {
        let config = denoiser.config
        var reader = try SnapshotReader(source, .decoder, of: denoiser.fingerprint) {
            (part) throws(LLaDAError) in
            try progress?(part / 2)
        }
        guard let maskID else { throw reader.error("the mask id", "there", expected: "none: the model's is unknown") }
        let canvas = try Canvas(prompt: [], genLength: 0, blockLength: 1, maskID: maskID)
        let room = try Reserve.Room(32 * reader.remaining + 64 * reader.pages.count / max(denoiser.pageSize(1), 1))
        defer { room.close() }
        var state = DecoderState(
            options: Options(), canvas: canvas, eosIDs: Set(eosIDs), editTokens: editTokens)
        try state.code(&reader, config)
        let areKept = state.predictions.positions.isEmpty
        let rows = areKept ? state.kept.positions.count : state.predictions.positions.count
        let states = try Self.states(&reader, count: rows * config.hiddenSize)
        let disabled = try Self.disabledExperts(&reader, config)
        let size = denoiser.pageSize(state.options.blockLength)
        let blocks = try reader.integer("the number of pages", in: 0...state.canvas.blockCount)
        guard reader.pages.count == blocks * size else {
            throw reader.error("the size of \(blocks) pages", reader.pages.count, expected: "\(blocks * size)")
        }
        let length = state.options.blockLength
        let tokens = try Self.computedTokens(&reader, state, count: blocks * length, config.vocabSize)
        let rider = try reader.integer("the block that has run along", in: -1...blocks - 1)
        let riderStates = try rider < 0 ? nil : Self.states(&reader, count: length * config.hiddenSize)
        try reader.expectEnd()

        state.options.prefixCache = prefixCache
        try state.options.validate(for: denoiser)
        let sequence = CachedSequence(denoiser, blockLength: state.options.blockLength, cache: prefixCache)
        for (layer, expert) in disabled { try sequence.setExpert(layer: layer, expert: expert, isDisabled: true) }
        if let states { try sequence.restore(states: states, rows: rows, areKept: areKept) }
        try sequence.restore(tokens.all, exactLength: tokens.exactLength) { (block, page) throws(LLaDAError) in
            try reader.read(page, at: reader.pages.lowerBound + block * size)
            try progress?(0.5 + 0.5 * Double(block + 1) / Double(blocks))
        }
        if let riderStates { try sequence.restoreRider(rider, riderStates) }
        state.restoreRan(sequence.computed)
        try self.init(state, sequence)
    }

    /// Reads what pages were computed from: `count` tokens, and how many of them, in whole blocks, have exact K/V.
    private static func computedTokens(
        _ reader: inout SnapshotReader, _ state: DecoderState, count: Int, _ vocabSize: Int
    ) throws(LLaDAError) -> (all: [Int32], exactLength: Int) {
        let exact = try reader.integer("the number of exact positions", in: 0...count)
        let parts = state.policy.refresh != nil
        try reader.expect(
            exact % state.options.blockLength == 0 && (parts || exact == count), "the number of exact positions",
            "\(exact)", parts ? "whole blocks" : "\(count), all")
        var tokens = Array(state.canvas.tokens[..<count])
        if parts {
            for position in 0..<count {
                tokens[position] = try reader.token("a token of a page", vocabSize: vocabSize)
            }
        }
        return (tokens, exact)
    }

    /// Reads the states of the last forward, [rows, hidden]; nil if there was no forward.
    private static func states(_ reader: inout SnapshotReader, count: Int) throws(LLaDAError) -> Buffer<Float>? {
        if count == 0 { return nil }
        guard count <= reader.remaining / MemoryLayout<Float>.size else {
            throw reader.error("the states of the last forward", "cut off", expected: "\(count) numbers")
        }
        let states = try Buffer<Float>(count: count)
        try reader.bytes(
            "the states of the last forward",
            into: UnsafeMutableRawBufferPointer(start: states.pointer, count: states.byteCount))
        return states
    }

    private static func disabledExperts(
        _ reader: inout SnapshotReader, _ config: ModelConfig
    ) throws(LLaDAError) -> [(layer: Int, expert: Int)] {
        var mask = ExpertMask()
        for _ in 0..<(try reader.count("the number of experts switched off", ofSize: 16)) {
            let layer = try reader.integer("a layer", in: 0...config.numHiddenLayers - 1)
            let expert = try reader.integer("an expert", in: 0...max(config.numExperts - 1, 0))
            var next = mask
            try reader.check { () throws(LLaDAError) in try next.set(layer: layer, expert: expert, true, config) }
            mask = next
        }
        return mask.all
    }
}
