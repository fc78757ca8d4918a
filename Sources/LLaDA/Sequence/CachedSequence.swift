/// One sequence's keys and values, and the forwards that keep them valid.
///
/// Every page remembers the tokens it was computed from. A page is valid for a canvas if its tokens and those of all
/// pages before it are the canvas's tokens. So nothing has to be invalidated. The last forward over a block's final
/// tokens commits the block; if no forward had those tokens, the block's rows are part of the next forward
/// (spec: decoding.md, section 8).
///
/// Forks and a prefix cache may share pages. A new page replaces a shared page before it is written to.
package final class CachedSequence {
    package let denoiser: any Denoiser
    let blockLength: Int
    /// A request that ends a forward in which this sequence takes part. Any thread may use it.
    package let cancellation: Cancellation
    private let cache: PrefixCache?
    private var pages: [Page] = []
    /// The tokens of the valid pages. An incomplete last block counts only as its own length.
    private var computed: [Int32] = []
    /// The number of pages, from the first on, that the prefix cache has as well.
    private var sharedBlocks = 0
    /// Pages for a window that runs as one block. Nothing else uses their keys and values.
    private var windowPages: [Page] = []
    /// The final states of the last forward, which give the logits of its rows.
    package private(set) var states: FinalStates?
    package var observer: Observer?
    package var watch: ModelWatch?
    package private(set) var expertMask: ExpertMask?
    package private(set) var computedPositions = 0
    package private(set) var reusedPositions = 0

    package init(
        _ denoiser: any Denoiser, blockLength: Int, cache: PrefixCache? = nil,
        cancellation: Cancellation = Cancellation()
    ) {
        self.denoiser = denoiser
        self.blockLength = blockLength
        self.cache = cache
        self.cancellation = cancellation
    }

    /// Prepares a forward over tokens[active], given all tokens before: the first phase. The result says which rows to
    /// run, and has pages to write to. `asOneBlock` lets the active positions, of several blocks, see each other
    /// (spec: decoding.md, section 7). `Pending.run` is the second phase, for this sequence alone or for several.
    package func prepare(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool
    ) throws(LLaDAError) -> Pending {
        states = nil
        var held = holding(tokens)
        if held < active.lowerBound { held += attach(tokens, held..<active.lowerBound) }
        var start = min(held, active.lowerBound)
        // A window leaves the pages of its blocks unchanged; a block that is run again replaces its page.
        let kept = asOneBlock ? held : start
        computed.removeLast(computed.count - kept)
        sharedBlocks = min(sharedBlocks, kept / blockLength)
        try makeWritable(kept..<max(kept, asOneBlock ? active.lowerBound : active.upperBound))
        // Missing positions before the active ones go first, in pieces, unless they fit into the same forward.
        let piece = Batch.mostRows(blockLength: blockLength)
        var ahead: [Pending.Part] = []
        while active.upperBound - start > piece, active.lowerBound - start > 0 {
            let end = min(start + piece, active.lowerBound)
            ahead.append(part(tokens, start..<end, wanting: end..<end))
            start = end
        }
        let last =
            asOneBlock
            ? try windowPart(tokens, active, from: start) : part(tokens, start..<active.upperBound, wanting: active)
        return Pending(ahead: ahead, last: last)
    }

    /// Switches an expert off or on, and forgets what was computed with the old setting. Throws `.state` with a prefix
    /// cache.
    func setExpert(layer: Int, expert: Int, isDisabled: Bool) throws(LLaDAError) {
        if cache != nil {
            throw LLaDAError(.state, "experts cannot be switched off where K/V is shared through a prefix cache")
        }
        var mask = expertMask ?? ExpertMask()
        try mask.set(layer: layer, expert: expert, isDisabled, denoiser.config)
        if mask == expertMask ?? ExpertMask() { return }
        expertMask = mask.isEmpty ? nil : mask
        reset()
    }

    /// Notes that `part` was run, with these states.
    func took(_ part: Pending.Part, _ states: FinalStates) {
        computed.append(contentsOf: part.tokens)
        computedPositions += part.rows.count
        if part.wanted > 0 { watch?.count() }
        self.states = states
    }

    /// Shares the blocks before `end` that have keys and values of these tokens with the prefix cache.
    package func share(_ tokens: UnsafeBufferPointer<Int32>, upTo end: Int) {
        guard let cache, end / blockLength > sharedBlocks else { return }
        let blocks = min(holding(tokens), end) / blockLength
        guard blocks > sharedBlocks else { return }
        pages.replaceSubrange(..<blocks, with: cache.share(tokens, blockLength: blockLength, pages[..<blocks]))
        sharedBlocks = blocks
    }

    /// Takes the cached pages of `missing` from the prefix cache, and returns their number of positions.
    private func attach(_ tokens: UnsafeBufferPointer<Int32>, _ missing: Range<Int>) -> Int {
        let blocks = missing.lowerBound / blockLength..<missing.upperBound / blockLength
        guard let cache, !blocks.isEmpty else { return 0 }
        let found = cache.pages(tokens, blockLength: blockLength, blocks: blocks)
        guard !found.isEmpty else { return 0 }
        let count = found.count * blockLength
        pages.replaceSubrange(blocks.lowerBound..<min(pages.count, blocks.lowerBound + found.count), with: found)
        computed.removeLast(computed.count - missing.lowerBound)
        computed.append(contentsOf: tokens[missing.lowerBound..<missing.lowerBound + count])
        sharedBlocks = blocks.lowerBound + found.count
        reusedPositions += count
        return count
    }

    /// Makes unshared pages for these positions. The first position starts a block, and no page from there on is valid.
    /// Shared pages are released before new ones are made: a full prefix cache may have no other room.
    private func makeWritable(_ positions: Range<Int>) throws(LLaDAError) {
        let stale = pages.indices.dropFirst(positions.lowerBound / blockLength)
        if let shared = stale.first(where: { !isKnownUniquelyReferenced(&pages[$0]) }) {
            pages.removeLast(pages.count - shared)
        }
        while pages.count * blockLength < positions.upperBound { pages.append(try makePage()) }
    }

    private func makePage() throws(LLaDAError) -> Page {
        if let cache { return try cache.makePage(blockLength: blockLength) }
        return try denoiser.makePage(blockLength)
    }

    /// Returns how many leading positions, in whole blocks, have keys and values computed from these tokens.
    private func holding(_ tokens: UnsafeBufferPointer<Int32>) -> Int {
        var same = 0
        let most = min(computed.count, tokens.count)
        while same < most, computed[same] == tokens[same] { same += 1 }
        return same / blockLength * blockLength
    }

    private func part(
        _ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>, wanting: Range<Int>
    ) -> Pending.Part {
        Pending.Part(
            sequence: self, rows: rows(tokens, range, wanting: wanting),
            tables: [PageTable(pages: pages, blockLength: blockLength)], tokens: Array(tokens[range]))
    }

    /// Returns the window, and with it the missing positions before it, as two sequences that share the pages up to the
    /// window.
    private func windowPart(
        _ tokens: UnsafeBufferPointer<Int32>, _ window: Range<Int>, from start: Int
    ) throws(LLaDAError) -> Pending.Part {
        while windowPages.count * blockLength < window.count { windowPages.append(try makePage()) }
        let missing = start..<window.lowerBound
        let rows =
            rows(tokens, missing, wanting: missing.upperBound..<missing.upperBound)
            + window.map { position in
                Row(
                    sequence: 1, position: position, token: tokens[position], visibleEnd: window.upperBound,
                    wantsLogits: true)
            }
        let windowed = Array(pages[..<(window.lowerBound / blockLength)]) + windowPages
        return Pending.Part(
            sequence: self, rows: rows,
            tables: [pages, windowed].map { PageTable(pages: $0, blockLength: blockLength) },
            tokens: Array(tokens[missing]))
    }

    /// Returns the rows of `range` under the strict block-causal mask.
    private func rows(_ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>, wanting: Range<Int>) -> [Row] {
        range.map { position in
            Row(
                position: position, token: tokens[position],
                visibleEnd: BlockCausalMask.visibleEnd(
                    of: position, blockLength: blockLength, length: range.upperBound),
                wantsLogits: wanting.contains(position))
        }
    }
}

extension CachedSequence {
    /// Forgets all that was computed, except the states of the last forward.
    package func reset() {
        computed = []
        sharedBlocks = 0
        pages = []
        windowPages = []
    }

    /// Returns another sequence in the same state. The two share pages until one of them writes to them.
    package func fork() -> CachedSequence {
        let fork = CachedSequence(denoiser, blockLength: blockLength, cache: cache)
        (fork.pages, fork.computed, fork.sharedBlocks, fork.states) = (pages, computed, sharedBlocks, states)
        (fork.observer, fork.expertMask) = (observer, expertMask)
        return fork
    }
}

/// The parts of a sequence that a snapshot keeps.
extension CachedSequence {
    /// The states of the last forward, [rows, hidden]; empty if there was no forward.
    var savedStates: UnsafeBufferPointer<Float> { states?.values ?? UnsafeBufferPointer(start: nil, count: 0) }

    /// Returns the pages that are valid for `tokens`, from the first on.
    func savedPages(_ tokens: UnsafeBufferPointer<Int32>) -> [Page] { Array(pages[..<(holding(tokens) / blockLength)]) }

    /// Restores the states of a forward over `rows` positions.  values: [rows, hidden]
    func restore(states values: Buffer<Float>, rows: Int) throws(LLaDAError) {
        states = try denoiser.finalStates(values, rows: rows)
    }

    /// Restores the keys and values of the first `blocks` blocks of `tokens`. The prefix cache gives those that it has;
    /// `fill` fills the page of each other block, by the block's number.
    func restore(
        _ tokens: UnsafeBufferPointer<Int32>, blocks: Int, fill: (Int, Page) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        let end = blocks * blockLength
        let start = attach(tokens, 0..<end)
        try makeWritable(start..<end)
        for block in start / blockLength..<blocks { try fill(block, pages[block]) }
        computed += tokens[start..<end]
    }
}
