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
    /// Whether a fork may share the memory of these lists.
    private var mayShareLists = false
    /// The number of pages, from the first on, that the prefix cache has as well.
    private var sharedBlocks = 0
    /// Pages for a window that runs as one block. Nothing else uses their keys and values.
    private var windowPages: [Page] = []
    /// Pages that nothing uses yet: after `prepare` there are enough for all positions. A prefix cache gives pages when
    /// they are needed.
    private var reserve: [Page] = []
    /// The most positions that the sequence will have, and run as one block.
    private var most = (positions: 0, window: 0, rider: 0)
    /// The part that the sequence has in the forward that is about to run, and its tables in the batch.
    private var running: (part: Pending.Part, tables: Range<Int>)?
    /// The memory of `states`. A fork may share it.
    private var memory: StateMemory
    /// The final states of the last forward, which give the logits of its rows.
    package private(set) var states: FinalStates?
    /// A block that ran along in a forward over the block before it, and its states. They are those of the block's next
    /// forward if that has the same tokens.
    private var ridden: (block: Range<Int>, states: FinalStates)?
    private var riddenMemory: StateMemory
    package var observer: Observer?
    package var watch: ModelWatch?
    package private(set) var expertMask: ExpertMask?
    package private(set) var computedForwards = 0
    package private(set) var computedPositions = 0
    package var judgedPositions = 0
    package private(set) var reusedPositions = 0

    package init(
        _ denoiser: any Denoiser, blockLength: Int, cache: PrefixCache? = nil,
        cancellation: Cancellation = Cancellation()
    ) {
        self.denoiser = denoiser
        memory = StateMemory(in: denoiser.compute.budget)
        riddenMemory = StateMemory(in: denoiser.compute.budget)
        self.blockLength = blockLength
        self.cache = cache
        self.cancellation = cancellation
    }

    /// Says how many positions the sequence will have at most, how many will run as one block, a block or a window, and
    /// how many may ride along. The first forward takes the memory for them.
    func expect(positions: Int, window: Int, rider: Int) { most = (positions, window, rider) }

    /// The most rows that the sequence has in a forward, and the most of these that want logits.
    var room: (rows: Int, wanted: Int) {
        (
            max(min(most.positions, Batch.mostRows(blockLength: blockLength)), most.window),
            max(most.window, blockLength + most.rider)
        )
    }

    /// Whether somebody looks into the forwards. Then none does another's work.
    var isObserved: Bool { observer != nil || watch != nil }

    /// Prepares a forward over tokens[active], given all tokens before: the first phase. The result says what to run,
    /// and there are pages to write to. `asOneBlock` lets the active positions, of several blocks, see each other
    /// (spec: decoding.md, section 7). `Pending.run` is the second phase, for this sequence alone or for several. The
    /// tokens must stay until then.
    ///
    /// `rider` is the block behind the active one, or empty: it runs along if nothing is missing before the active block
    /// and there is a page for it. If it does, and the next forward is over that block and the same tokens, there is
    /// nothing to run.
    package func prepare(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool, rider: Range<Int> = 0..<0
    ) throws(LLaDAError) -> Pending {
        states = nil
        try takeLists()
        var held = holding(tokens)
        if let ridden, ridden.block == active, held >= active.upperBound, !asOneBlock, !isObserved {
            states = ridden.states
            return Pending(
                sequence: self, tokens: tokens, start: active.upperBound, active: active, asOneBlock: false,
                rider: 0..<0)
        }
        if held < active.lowerBound { held += try attach(tokens, held..<active.lowerBound) }
        let start = min(held, active.lowerBound)
        // A window leaves the pages of its blocks unchanged; a block that is run again replaces its page.
        let kept = asOneBlock ? held : start
        computed.removeLast(computed.count - kept)
        // A block that has run along is of use for its own first forward.
        if let ridden, ridden.block.upperBound > kept || ridden.block.lowerBound < active.upperBound {
            self.ridden = nil
        }
        sharedBlocks = min(sharedBlocks, kept / blockLength)
        try makeWritable(kept..<max(kept, asOneBlock ? active.lowerBound : active.upperBound))
        if asOneBlock {
            while windowPages.count * blockLength < active.count { windowPages.append(try makePage()) }
        }
        var rider = start == active.lowerBound && !asOneBlock ? rider : 0..<0
        if !rider.isEmpty {
            // Without a page, which a full prefix cache may refuse, it runs when its turn comes.
            do throws(LLaDAError) { try makeWritable(kept..<rider.upperBound) } catch { rider = 0..<0 }
        }
        try fillReserve()
        return Pending(
            sequence: self, tokens: tokens, start: start, active: active, asOneBlock: asOneBlock, rider: rider)
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

    /// Adds the rows of `part` to the batch of `work`.
    func begin(_ part: Pending.Part, _ tokens: UnsafeBufferPointer<Int32>, _ work: Workspace) {
        let index = work.batch.add(PageTable(pages: pages, blockLength: blockLength), expertMask)
        for position in part.positions {
            let end = BlockCausalMask.visibleEnd(
                of: position, blockLength: blockLength, length: part.positions.upperBound)
            work.batch.append(
                Row(
                    sequence: index, position: position, token: tokens[position], visibleEnd: end,
                    wantsLogits: part.wanted.contains(position)))
        }
        var last = index
        if !part.window.isEmpty {
            // The window and the positions before it are two sequences that share the pages up to the window.
            let start = part.window.lowerBound / blockLength
            last = work.batch.add(
                PageTable(pages: pages, upTo: start, then: windowPages, blockLength: blockLength), expertMask)
            for position in part.window {
                work.batch.append(
                    Row(
                        sequence: last, position: position, token: tokens[position],
                        visibleEnd: part.window.upperBound, wantsLogits: true))
            }
        }
        if !part.rider.isEmpty { ridden = nil }
        work.cancellations.append(cancellation)
        running = (part, index..<last + 1)
    }

    /// The observer for `watch` of the forward that is about to run; nil if there is nothing to watch.
    var watchObserver: Observer? {
        guard let watch, let running, !running.part.wanted.isEmpty else { return nil }
        return watch.observer(running.tables)
    }

    /// Whether the sequence has rows in the forward that is about to run.
    var isRunning: Bool { running != nil }
    /// Whether states that `took` will get are all of the active positions, and may lie in `ownMemory`.
    var ownsAllStates: Bool { running.map { $0.part.rider.isEmpty } ?? false }

    /// Returns memory for the states of the next forward, which nothing else refers to.
    func ownMemory() -> StateMemory {
        states = nil
        if !isKnownUniquelyReferenced(&memory) { memory = StateMemory(in: denoiser.compute.budget) }
        return memory
    }

    /// Notes that the part was run, with these states from `first` on. If they do not lie in the sequence's own memory,
    /// it takes a copy: the states of a batch are those of its last forward only. Returns the index behind them.
    func took(
        _ all: FinalStates, from first: Int, _ tokens: UnsafeBufferPointer<Int32>, isOwn: Bool
    ) throws(LLaDAError) -> Int {
        guard let part = running?.part else { return first }
        running = nil
        try computed.makeRoom(for: part.positions.count)
        computed.append(contentsOf: UnsafeBufferPointer(rebasing: tokens[part.positions]))
        computedPositions += part.rows
        if part.wanted.isEmpty { return first }
        watch?.count()
        computedForwards += 1
        if most.rider > 0, ridden == nil {
            if !isKnownUniquelyReferenced(&riddenMemory) { riddenMemory = StateMemory(in: denoiser.compute.budget) }
            _ = try all.reserve(in: riddenMemory, rows: most.rider)
        }
        let end = first + part.wanted.count
        let own = first..<end - part.rider.count
        states = isOwn ? all : try all.slice(own).copy(to: ownMemory(), room: room.wanted)
        if !part.rider.isEmpty {
            let states = try all.slice(own.upperBound..<end).copy(to: riddenMemory, room: most.rider)
            ridden = (part.rider, states)
        }
        return end
    }

    /// Shares the blocks before `end` that have keys and values of these tokens with the prefix cache.
    package func share(_ tokens: UnsafeBufferPointer<Int32>, upTo end: Int) {
        guard let cache, end / blockLength > sharedBlocks else { return }
        let blocks = min(holding(tokens), end) / blockLength
        // Without memory for the lists, the blocks are shared another time.
        guard blocks > sharedBlocks, let room = try? Reserve.Room(64 * blocks + 16 * blockLength + cache.growth) else {
            return
        }
        defer { room.close() }
        pages.replaceSubrange(..<blocks, with: cache.share(tokens, blockLength: blockLength, pages[..<blocks]))
        sharedBlocks = blocks
    }

    /// Takes the cached pages of `missing` from the prefix cache, and returns their number of positions.
    private func attach(_ tokens: UnsafeBufferPointer<Int32>, _ missing: Range<Int>) throws(LLaDAError) -> Int {
        let blocks = missing.lowerBound / blockLength..<missing.upperBound / blockLength
        guard let cache, !blocks.isEmpty else { return 0 }
        // The path of nodes, their pages, and keys that they are looked up by.
        let room = try Reserve.Room(64 * blocks.upperBound + 16 * blockLength)
        defer { room.close() }
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
        if let shared = stale.first(where: { !Page.isUnshared(&pages[$0]) }) {
            while pages.count > shared { putBack(pages.removeLast()) }
        }
        while pages.count * blockLength < positions.upperBound {
            try pages.makeRoom()
            pages.append(try makePage())
        }
    }

    private func makePage() throws(LLaDAError) -> Page {
        if let page = reserve.popLast() { return page }
        if let cache { return try cache.makePage(blockLength: blockLength) }
        return try denoiser.makePage(blockLength)
    }

    /// Takes the lists for the positions that are to come. Throws `.outOfMemory`.
    private func takeLists() throws(LLaDAError) {
        let blocks = max(most.positions / blockLength, pages.count)
        if mayShareLists {
            let (oldTokens, oldPages) = (computed, pages)
            (computed, pages) = ([], [])
            do throws(LLaDAError) {
                try computed.reserve(max(most.positions, oldTokens.count))
                try pages.reserve(blocks)
            } catch {
                (computed, pages) = (oldTokens, oldPages)
                throw error
            }
            computed += oldTokens
            pages += oldPages
            mayShareLists = false
        }
        try computed.reserve(most.positions)
        try pages.reserve(blocks)
    }

    /// Takes the pages for the positions that are to come.
    private func fillReserve() throws(LLaDAError) {
        let blocks = most.positions / blockLength
        if cache != nil { return }
        let windowBlocks = most.window > blockLength ? most.window / blockLength : 0
        try windowPages.reserve(windowBlocks)
        // Pages of blocks that may still be edited are replaced once if a fork shares them.
        let open = pages.indices.suffix(most.window / blockLength + 1)
        let shared = open.count { !Page.isUnshared(&pages[$0]) }
        try reserve.reserve(blocks + windowBlocks)
        while pages.count - shared + windowPages.count + reserve.count < blocks + windowBlocks {
            reserve.append(try denoiser.makePage(blockLength))
        }
    }

    /// Keeps a page that is no longer valid, if nothing else uses it.
    private func putBack(_ page: consuming Page) {
        if cache == nil, Page.isUnshared(&page) { reserve.append(page) }
    }

    /// Returns how many leading positions, in whole blocks, have keys and values computed from these tokens.
    private func holding(_ tokens: UnsafeBufferPointer<Int32>) -> Int {
        var same = 0
        let most = min(computed.count, tokens.count)
        while same < most, computed[same] == tokens[same] { same += 1 }
        return same / blockLength * blockLength
    }
}

extension CachedSequence {
    /// Forgets all that was computed, except the states of the last forward.
    package func reset() {
        computed.removeAll(keepingCapacity: true)
        ridden = nil
        sharedBlocks = 0
        while !pages.isEmpty { putBack(pages.removeLast()) }
        while !windowPages.isEmpty { putBack(windowPages.removeLast()) }
    }

    /// Gives back the pages that nothing uses. The next forward would take as many again.
    func releaseReserve() { reserve = [] }

    /// Forgets all that was computed, as `reset`, and gives back its memory.
    func release() {
        reset()
        releaseReserve()
    }

    /// Returns another sequence in the same state. The two share pages until one of them writes to them.
    package func fork() -> CachedSequence {
        let fork = CachedSequence(denoiser, blockLength: blockLength, cache: cache)
        (fork.pages, fork.computed, fork.sharedBlocks, fork.states) = (pages, computed, sharedBlocks, states)
        (fork.observer, fork.expertMask, fork.most, fork.ridden) = (observer, expertMask, most, ridden)
        (mayShareLists, fork.mayShareLists) = (true, true)
        return fork
    }
}

/// The parts of a sequence that a snapshot keeps.
extension CachedSequence {
    /// The states of the last forward, [rows, hidden]; empty if there was no forward.
    var savedStates: UnsafeBufferPointer<Float> { states?.values ?? UnsafeBufferPointer(start: nil, count: 0) }

    /// The block that has run along, if it would be used over `tokens`, and its states, [blockLength, hidden].
    func savedRider(_ tokens: UnsafeBufferPointer<Int32>) -> (block: Int, states: UnsafeBufferPointer<Float>)? {
        guard let ridden, holding(tokens) >= ridden.block.upperBound else { return nil }
        return (ridden.block.lowerBound / blockLength, ridden.states.values)
    }

    /// Restores a block that has run along, whose page is there.  values: [blockLength, hidden]
    func restoreRider(_ block: Int, _ values: Buffer<Float>) throws(LLaDAError) {
        let positions = block * blockLength..<(block + 1) * blockLength
        ridden = (positions, try denoiser.finalStates(values, rows: blockLength))
    }

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
        try computed.reserve(end)
        try pages.reserve(blocks)
        let start = try attach(tokens, 0..<end)
        try makeWritable(start..<end)
        for block in start / blockLength..<blocks { try fill(block, pages[block]) }
        computed += tokens[start..<end]
    }
}
