/// One sequence's keys and values, and the forwards that keep them valid.
///
/// Every page remembers the tokens it was computed from. A page is valid for a canvas if its tokens and those of all
/// pages before it are the canvas's tokens. So nothing has to be invalidated. The last forward over a block's final
/// tokens commits the block; if no forward had those tokens, the block's rows are part of the next forward
/// (spec: decoding.md, section 8).
///
/// Forks and a prefix cache may share pages. A new page replaces a shared page before it is written to.
package final class CachedSequence {
    /// A block that has run before its turn.
    struct Ridden {
        let block: Range<Int>
        let states: FinalStates
    }

    package let denoiser: any Denoiser
    let blockLength: Int
    /// A request that ends a forward in which this sequence takes part. Any thread may use it.
    package let cancellation: Cancellation
    private let cache: PrefixCache?
    var pages: [Page] = []
    /// The tokens of the valid pages. An incomplete last block counts only as its own length.
    var computed: [Int32] = []
    /// The number of positions, from the first on, whose K/V are those of a forward over all rows of their blocks. They
    /// are fewer than `computed` only where parts of blocks were run.
    var exactLength = 0
    /// Whether a fork may share the memory of these lists, and that of states.
    private var mayShareLists = false
    private var mayShareMemory = false
    /// The number of pages, from the first on, that the prefix cache has as well.
    private var sharedBlocks = 0
    /// Pages for a window that runs as one block. Nothing else uses their keys and values.
    private var windowPages: [Page] = []
    /// Pages that nothing uses yet: after `prepare` there are enough for all positions. A prefix cache gives pages when
    /// they are needed.
    private var reserve: [Page] = []
    /// The most positions that the sequence will have, and run as one block.
    private var most = (positions: 0, window: 0, rider: 0, keepsRows: false)
    /// The part that the sequence has in the forward that is about to run, and its tables in the batch.
    private var running: Running?
    private struct Running {  // a tuple would have its metadata made in a step
        let part: Pending.Part
        let tables: Range<Int>
    }
    /// The memory of `states`. A fork may share it.
    private var memory: StateMemory
    /// Memory for the states of the forward after that, for a sequence that keeps rows.
    private var otherMemory: StateMemory
    /// The states of the forward before, of which a forward over a part of the rows keeps the others.
    var kept: FinalStates?
    /// The final states of the last forward, which give the logits of its rows.
    package internal(set) var states: FinalStates?
    /// A block that ran along in a forward over the block before it, and its states. They are those of the block's next
    /// forward if that has the same tokens.
    var ridden: Ridden?
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
        otherMemory = StateMemory(in: denoiser.compute.budget)
        self.blockLength = blockLength
        self.cache = cache
        self.cancellation = cancellation
    }

    /// Says how many positions the sequence will have at most, how many will run as one block, a block or a window, how
    /// many may ride along, and whether forwards may be over a part of the rows. The first forward takes the memory.
    package func expect(positions: Int, window: Int, rider: Int, keepsRows: Bool) {
        most = (positions, window, rider, keepsRows)
    }

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
    /// With `selection`, of a block for which `canRunPart` is true, only its rows with true are run. `keepsInexact`
    /// lets blocks before the active one keep K/V that are those of such forwards; otherwise they are computed again.
    ///
    /// `rider` is the block behind the active one, or empty: it runs along if nothing is missing before the active
    /// block and there is a page for it. If it does, and the next forward is over that block and the same tokens, there
    /// is nothing to run.
    package func prepare(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool, selection: [Bool]? = nil,
        rider: Range<Int> = 0..<0, keepsInexact: Bool = false
    ) throws(LLaDAError) -> Pending {
        if most.keepsRows, let states { self.kept = states }
        states = nil
        running = nil
        try takeLists()
        if let selection { return try preparePart(selection, tokens, active, rider) }
        self.kept = nil
        var held = holding(tokens, exactly: !keepsInexact)
        if let ridden, ridden.block == active, held >= active.upperBound, !asOneBlock, !isObserved {
            states = ridden.states
            try reserveStates(ridden.states)
            try fillReserve()
            return Pending(
                sequence: self, tokens: tokens, start: active.upperBound, active: active, asOneBlock: false,
                selection: nil, rider: 0..<0)
        }
        if held < active.lowerBound { held += try attach(tokens, held..<active.lowerBound) }
        let start = min(held, active.lowerBound)
        // A window leaves the pages of its blocks unchanged; a block that is run again replaces its page.
        let kept = asOneBlock ? held : start
        forget(from: kept)
        // A block that has run along is of use for its own first forward.
        if (ridden?.block.lowerBound ?? 0) < active.upperBound { ride(nil) }
        sharedBlocks = min(sharedBlocks, kept / blockLength)
        try makeWritable(kept..<max(kept, asOneBlock ? active.lowerBound : active.upperBound))
        if asOneBlock {
            while windowPages.count * blockLength < active.count { windowPages.append(try makePage()) }
        }
        let rider = start == active.lowerBound && !asOneBlock ? makePage(for: rider) : 0..<0
        try fillReserve()
        return Pending(
            sequence: self, tokens: tokens, start: start, active: active, asOneBlock: asOneBlock, selection: nil,
            rider: rider)
    }

    /// Sets `ridden`. Swift takes memory for what it knows of a type where the first value of it goes: here, in the
    /// first forward.
    @inline(never)
    private func ride(_ block: Ridden?) { ridden = block }

    /// Makes a page for a block that may run along, and returns the block. Without a page, which a full prefix cache
    /// may refuse, it runs when its turn comes, and the result is empty.
    private func makePage(for rider: Range<Int>) -> Range<Int> {
        if rider.isEmpty { return rider }
        do throws(LLaDAError) { try makeWritable(rider) } catch { return 0..<0 }
        return rider
    }

    /// Forgets what was computed from a position on.
    private func forget(from position: Int) {
        if computed.count > position { computed.removeLast(computed.count - position) }
        exactLength = min(exactLength, position)
        if let ridden, ridden.block.upperBound > position { ride(nil) }
    }

    /// Whether a part of the rows of a block may be run: all have run, over tokens before them that are still there,
    /// and their states are at hand.
    func canRunPart(of active: Range<Int>, _ tokens: UnsafeBufferPointer<Int32>, keepsInexact: Bool) -> Bool {
        guard computed.count >= active.upperBound, (states ?? kept)?.count == active.count else { return false }
        return holding(tokens, exactly: !keepsInexact) >= active.lowerBound
    }

    /// Prepares a forward over some rows of a block.
    private func preparePart(
        _ selection: [Bool], _ tokens: UnsafeBufferPointer<Int32>, _ active: Range<Int>, _ rider: Range<Int>
    ) throws(LLaDAError) -> Pending {
        forget(from: active.upperBound)
        ride(nil)
        exactLength = min(exactLength, active.lowerBound)
        sharedBlocks = min(sharedBlocks, active.lowerBound / blockLength)
        let block = active.lowerBound / blockLength
        if !isKnownUniquelyReferenced(&pages[block]) {
            let own = try makePage()
            own.bytes.copyMemory(from: UnsafeRawBufferPointer(pages[block].bytes))
            pages[block] = own
        }
        let rider = makePage(for: rider)
        try fillReserve()
        return Pending(
            sequence: self, tokens: tokens, start: active.lowerBound, active: active, asOneBlock: false,
            selection: selection, rider: rider)
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
        for position in part.positions where part.runs(position) {
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
        if !part.rider.isEmpty { ride(nil) }
        work.cancellations.append(cancellation)
        running = Running(part: part, tables: index..<last + 1)
    }

    /// The observer for `watch` of the forward that is about to run; nil if there is nothing to watch.
    var watchObserver: Observer? {
        guard let watch, let running, !running.part.wanted.isEmpty else { return nil }
        return watch.observer(running.tables, selection: running.part.selection)
    }

    /// Whether the sequence has rows in the forward that is about to run.
    var isRunning: Bool { running != nil }
    /// Whether states that `took` will get are all of the active positions, and may lie in `ownMemory`.
    var ownsAllStates: Bool { running.map { $0.part.rider.isEmpty && $0.part.selection == nil } ?? false }

    /// Returns memory for the states of the next forward, which nothing else refers to.
    func ownMemory() -> StateMemory {
        states = nil
        if isKnownUniquelyReferenced(&memory) { return memory }
        swap(&memory, &otherMemory)
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
        try computed.makeRoom(for: part.selection == nil ? part.positions.count : part.rider.count)
        if let selection = part.selection {
            let first = part.positions.lowerBound
            for row in 0..<selection.count where selection[row] { computed[first + row] = tokens[first + row] }
            computed.append(contentsOf: UnsafeBufferPointer(rebasing: tokens[part.rider]))
        } else {
            if exactLength == part.positions.lowerBound { exactLength = part.positions.upperBound }
            computed.append(contentsOf: UnsafeBufferPointer(rebasing: tokens[part.positions]))
        }
        computedPositions += part.rows
        if part.wanted.isEmpty { return first }
        watch?.count()
        computedForwards += 1
        try reserveStates(all)
        let end = first + part.wantedRows
        let own = first..<end - part.rider.count
        if let selection = part.selection {
            states = try merge(all.slice(own), selection)
            kept = nil
        } else {
            states = isOwn ? all : try all.slice(own).copy(to: ownMemory(), room: room.wanted)
        }
        if !part.rider.isEmpty {
            if !isKnownUniquelyReferenced(&riddenMemory) { riddenMemory = StateMemory(in: denoiser.compute.budget) }
            let states = try all.slice(own.upperBound..<end).copy(to: riddenMemory, room: most.rider)
            ride(Ridden(block: part.rider, states: states))
        }
        return end
    }

    /// Takes the memory for states of later forwards.
    private func reserveStates(_ states: FinalStates) throws(LLaDAError) {
        if mayShareMemory {
            let budget = denoiser.compute.budget
            if !isKnownUniquelyReferenced(&memory) { memory = StateMemory(in: budget) }
            if !isKnownUniquelyReferenced(&otherMemory) { otherMemory = StateMemory(in: budget) }
            if !isKnownUniquelyReferenced(&riddenMemory) { riddenMemory = StateMemory(in: budget) }
            mayShareMemory = false
        }
        if isKnownUniquelyReferenced(&memory) { _ = try states.reserve(in: memory, rows: room.wanted) }
        if most.keepsRows, isKnownUniquelyReferenced(&otherMemory) {
            _ = try states.reserve(in: otherMemory, rows: room.wanted)
        }
        if most.rider > 0, isKnownUniquelyReferenced(&riddenMemory) {
            _ = try states.reserve(in: riddenMemory, rows: most.rider)
        }
    }

    /// Returns the states of all active rows: new ones of the rows that ran, and those that the others have kept.
    private func merge(_ new: FinalStates, _ selection: [Bool]) throws(LLaDAError) -> FinalStates {
        let memory = ownMemory()
        let rows = try new.reserve(in: memory, rows: max(most.window, selection.count))
        var next = 0
        for row in 0..<selection.count {
            if selection[row] {
                new.copy(row: next, to: rows + row * new.width)
                next += 1
            } else {
                kept?.copy(row: row, to: rows + row * new.width)
            }
        }
        return try new.others(in: memory, rows: selection.count, room: most.window)
    }

    /// Shares the blocks before `end` that have keys and values of these tokens with the prefix cache.
    package func share(_ tokens: UnsafeBufferPointer<Int32>, upTo end: Int) {
        guard let cache, end / blockLength > sharedBlocks else { return }
        let blocks = min(holding(tokens, exactly: true), end) / blockLength
        // Without memory for the lists, the blocks are shared another time.
        guard blocks > sharedBlocks, let room = try? Reserve.Room(64 * blocks + 16 * blockLength + cache.growth) else {
            return
        }
        defer { room.close() }
        pages.replaceSubrange(..<blocks, with: cache.share(tokens, blockLength: blockLength, pages[..<blocks]))
        sharedBlocks = blocks
    }

    /// Takes the cached pages of `missing` from the prefix cache, and returns their number of positions.
    func attach(_ tokens: UnsafeBufferPointer<Int32>, _ missing: Range<Int>) throws(LLaDAError) -> Int {
        let blocks = missing.lowerBound / blockLength..<missing.upperBound / blockLength
        guard let cache, !blocks.isEmpty else { return 0 }
        // The path of nodes, their pages, and keys that they are looked up by.
        let room = try Reserve.Room(64 * blocks.upperBound + 16 * blockLength)
        defer { room.close() }
        let found = cache.pages(tokens, blockLength: blockLength, blocks: blocks)
        guard !found.isEmpty else { return 0 }
        let count = found.count * blockLength
        pages.replaceSubrange(blocks.lowerBound..<min(pages.count, blocks.lowerBound + found.count), with: found)
        if exactLength >= missing.lowerBound { exactLength = missing.lowerBound + count }
        computed.removeLast(computed.count - missing.lowerBound)
        computed.append(contentsOf: tokens[missing.lowerBound..<missing.lowerBound + count])
        sharedBlocks = blocks.lowerBound + found.count
        reusedPositions += count
        return count
    }

    /// Makes unshared pages for these positions. The first position starts a block, and no page from there on is valid.
    /// Shared pages are released before new ones are made: a full prefix cache may have no other room.
    func makeWritable(_ positions: Range<Int>) throws(LLaDAError) {
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

    /// Returns how many leading positions, in whole blocks, have keys and values computed from these tokens, or exactly
    /// those of forwards over all rows.
    func holding(_ tokens: UnsafeBufferPointer<Int32>, exactly: Bool) -> Int {
        var same = 0
        let most = min(computed.count, tokens.count, exactly ? exactLength : .max)
        while same < most, computed[same] == tokens[same] { same += 1 }
        return same / blockLength * blockLength
    }
}

extension CachedSequence {
    /// Forgets all that was computed, except the states of the last forward.
    package func reset() {
        forget(from: 0)
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
        (fork.exactLength, fork.kept) = (exactLength, kept)
        (mayShareLists, fork.mayShareLists) = (true, true)
        (mayShareMemory, fork.mayShareMemory) = (true, true)
        return fork
    }
}
