import Kernels

/// One sequence's keys and values, and the forwards that keep them true.
///
/// Every page remembers the tokens it was computed from. A page holds for a canvas as long as its tokens and those of
/// all pages before are the canvas's: so nothing has to be invalidated, a block is committed by the last forward over
/// its final tokens, and where no forward had them, its rows ride along in the next one (spec: decoding.md, section 8).
/// Pages may be shared, with forks and through a prefix cache; one that is to be written and is shared gives way to a
/// new one.
package final class CachedSequence {
    package let denoiser: any Denoiser
    let blockLength: Int
    /// Ends a forward that this sequence takes part in; may be used from any thread.
    package let cancellation: Cancellation
    private let cache: PrefixCache?
    private var pages: [Page] = []
    /// The tokens of the pages that hold; an incomplete last block only ever counts as its own length.
    private var computed: [Int32] = []
    /// So many pages, from the first on, the prefix cache has as well.
    private var sharedBlocks = 0
    /// Pages for a window that is run as one block: its keys and values are nobody else's.
    private var windowPages: [Page] = []
    /// Of the last forward: they give the logits of its rows.
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

    /// The first phase of a forward over tokens[active], given all before: which rows it will run, with pages to write
    /// to. `asOneBlock` lets the active positions, of several blocks, see each other (spec: decoding.md, section 7).
    /// The second phase is `Pending.run`, of this sequence alone or of several.
    package func prepare(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool
    ) throws(LLaDAError) -> Pending {
        states = nil
        var held = holding(tokens)
        if held < active.lowerBound { held += attach(tokens, held..<active.lowerBound) }
        var start = min(held, active.lowerBound)
        // A window leaves the pages of its blocks alone; a block that is run anew replaces its page.
        let kept = asOneBlock ? held : start
        computed.removeLast(computed.count - kept)
        sharedBlocks = min(sharedBlocks, kept / blockLength)
        try makeWritable(kept..<max(kept, asOneBlock ? active.lowerBound : active.upperBound))
        // What is missing before the active positions goes first, in pieces, unless it fits into the same forward.
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

    /// Switches an expert off or on. What was computed before is not what it would be now.
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

    /// A part of a plan was run.
    func took(_ part: Pending.Part, _ states: FinalStates) {
        computed.append(contentsOf: part.tokens)
        computedPositions += part.rows.count
        if part.wanted > 0 { watch?.count() }
        self.states = states
    }

    /// The blocks before `end` that have keys and values of these tokens: others may use them.
    package func share(_ tokens: UnsafeBufferPointer<Int32>, upTo end: Int) {
        guard let cache, end / blockLength > sharedBlocks else { return }
        let blocks = min(holding(tokens), end) / blockLength
        guard blocks > sharedBlocks else { return }
        pages.replaceSubrange(..<blocks, with: cache.share(tokens, blockLength: blockLength, pages[..<blocks]))
        sharedBlocks = blocks
    }

    /// Takes what the prefix cache has of `missing`, and says how many positions that are.
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

    /// Pages of our own for these positions, from the start of a block from which on nothing holds. What others have as
    /// well is let go before new pages are asked for: a full prefix cache may have no other room.
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

    /// How many positions, in whole blocks, have keys and values computed from these tokens.
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

    /// The window, and with it what is missing before it: two sequences that share the pages up to the window.
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

    /// Of positions under the strict mask.
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
    /// Forgets what was computed, all but the last forward.
    package func reset() {
        computed = []
        sharedBlocks = 0
        pages = []
        windowPages = []
    }

    /// Another sequence that is where this one is; pages are shared until one of the two writes to them.
    package func fork() -> CachedSequence {
        let fork = CachedSequence(denoiser, blockLength: blockLength, cache: cache)
        (fork.pages, fork.computed, fork.sharedBlocks, fork.states) = (pages, computed, sharedBlocks, states)
        (fork.observer, fork.expertMask) = (observer, expertMask)
        return fork
    }
}

/// What a snapshot keeps.
extension CachedSequence {
    /// Of the last forward, [rows, hidden].
    var savedStates: UnsafeBufferPointer<Float> { states?.values ?? UnsafeBufferPointer(start: nil, count: 0) }

    /// The pages that hold for `tokens`, from the first on.
    func savedPages(_ tokens: UnsafeBufferPointer<Int32>) -> [Page] { Array(pages[..<(holding(tokens) / blockLength)]) }

    /// Goes on from a forward over `rows` positions.  values: [rows, hidden]
    func restore(states values: Buffer<Float>, rows: Int) throws(LLaDAError) {
        states = try denoiser.finalStates(values, rows: rows)
    }

    /// Takes keys and values of the first `blocks` blocks of `tokens`: what the prefix cache has, and for the others,
    /// by their number, `fill`.
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
