/// A cache of keys and values that decoders of one model share. A prompt or conversation whose beginning was computed
/// before is not computed again.
///
/// Pages lie under the tokens they were computed from, in whole blocks. All pages of the decoders that use the cache
/// count towards its budget. When the budget is used up, the least recently used pages go, except those that a decoder
/// holds or that are pinned. Any thread may use a cache at any time. In a process that was forked while a thread was
/// using it, a cache begins empty.
public final class PrefixCache: MemoryGiver, Sendable {
    /// The numbers of a cache at a moment.
    public struct Statistics: Sendable, Equatable {
        /// The most bytes that pages may take.
        public var maxBytes = 0
        /// The bytes that pages take: cached ones, and those that decoders hold.
        public var bytes = 0
        /// The number of cached blocks.
        public var blocks = 0
        /// The number of cached blocks that are pinned.
        public var pinnedBlocks = 0
        /// How many times a decoder lacked whole blocks and looked for them.
        public var lookups = 0
        /// How many of these lookups found at least one block.
        public var hits = 0
        /// The number of tokens that did not have to be computed.
        public var reusedTokens = 0
        /// The number of blocks that were removed to make room.
        public var evictedBlocks = 0
    }

    let denoiser: any Denoiser
    private let shared: Locked<Shared>

    /// The state under the lock. No node of the tree leaves the lock.
    private struct Shared: @unchecked Sendable {
        let budget: MemoryBudget
        var tree = PrefixTree()
        var statistics = Statistics()

        init(limit: Int) { budget = MemoryBudget(limit: limit) }
    }

    /// Makes a cache of at most `maxBytes` bytes of keys and values. A token takes
    /// `2 * num_hidden_layers * num_key_value_heads * head_dim` numbers. Throws `.invalidArgument` unless `maxBytes` is
    /// positive.
    package init(_ denoiser: any Denoiser, maxBytes: Int) throws(LLaDAError) {
        guard maxBytes > 0 else {
            throw LLaDAError(.invalidArgument, "max_bytes is \(maxBytes); expected at least 1")
        }
        self.denoiser = denoiser
        shared = Locked(Shared(limit: maxBytes))
        denoiser.compute.budget.add(self)
    }

    deinit { shared.withLock { $0.tree.clear(keepingPinned: false) } }

    /// The current numbers of the cache.
    public var statistics: Statistics {
        shared.withLock { shared in
            var statistics = shared.statistics
            statistics.maxBytes = shared.budget.limit
            statistics.bytes = shared.budget.used
            statistics.blocks = shared.tree.count
            statistics.pinnedBlocks = shared.tree.pinnedCount
            return statistics
        }
    }

    /// Pins the cached whole blocks of `tokens`, so that they stay whatever else needs room, or removes a pin. Pins are
    /// counted. Returns the number of tokens in these blocks. Throws `.invalidArgument` for a block length that the
    /// model cannot have.
    public func pin(
        _ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ isPinned: Bool = true
    ) throws(LLaDAError) -> Int {
        try denoiser.config.check(blockLength: blockLength, canvas: 0)
        let room = try Reserve.Room(64 * (tokens.count / blockLength) + 16 * blockLength)
        defer { room.close() }
        return shared.withLock { shared in
            let path = shared.tree.path(tokens, blockLength: blockLength, blocks: tokens.count / blockLength)
            shared.tree.pin(path, isPinned)
            return path.count * blockLength
        }
    }

    /// Forgets all blocks that are not pinned. Decoders keep the pages they hold.
    public func clear() { shared.withLock { $0.tree.clear(keepingPinned: true) } }

    // MARK: For sequences

    /// Makes a page within the budget, removing cached blocks where there is no room. Throws `.outOfMemory`.
    func makePage(blockLength: Int) throws(LLaDAError) -> Page {
        let size = denoiser.pageSize(blockLength)
        let budget = try shared.withLock { (shared) throws(LLaDAError) in
            let budget = shared.budget
            while budget.used + size > budget.limit {
                guard shared.tree.evict() else {
                    throw LLaDAError(
                        .outOfMemory,
                        """
                        the prefix cache may take \(budget.limit) bytes, and decoders and pins hold \(budget.used) of \
                        them: no room for a block of \(size)
                        """)
                }
                shared.statistics.evictedBlocks += 1
            }
            budget.charge(size)
            return budget
        }
        do throws(LLaDAError) {
            return try denoiser.makePage(blockLength, budget)
        } catch {
            budget.giveBack(size)
            throw error
        }
    }

    /// Removes the least recently used block. Returns false if there is none that may go.
    package func giveMemory() -> Bool {
        shared.withLock { shared in
            let hasGone = shared.tree.evict()
            if hasGone { shared.statistics.evictedBlocks += 1 }
            return hasGone
        }
    }

    /// Returns the cached pages of these blocks of `tokens`, from blocks.lowerBound up to the first that is missing.
    func pages(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, blocks: Range<Int>) -> [Page] {
        shared.withLock { shared in
            let path = shared.tree.path(tokens, blockLength: blockLength, blocks: blocks.upperBound)
            shared.tree.use(path)
            let found = path.dropFirst(blocks.lowerBound).map(\.page)
            shared.statistics.lookups += 1
            shared.statistics.hits += found.isEmpty ? 0 : 1
            shared.statistics.reusedTokens += found.count * blockLength
            return found
        }
    }

    /// Adds the pages of the first blocks of `tokens` to the cache. Returns the pages to use: where the cache already
    /// has a block, its page replaces the caller's.
    func share(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ pages: ArraySlice<Page>) -> ArraySlice<Page> {
        shared.withLock { shared in
            var pages = pages
            shared.tree.insert(tokens, blockLength: blockLength, &pages)
            return pages
        }
    }

    // MARK: For snapshots

    /// How many bytes the tree's tables may take when they grow.
    var growth: Int { shared.withLock { 256 * $0.tree.count } }

    /// How many bytes lists of all blocks take, and the blocks' tokens as bytes, in arrays that double.
    var memory: Int { shared.withLock { $0.tree.memory } }

    /// All cached blocks, the most recently used first.
    var entries: [PrefixTree.Entry] { shared.withLock { $0.tree.entries } }

    /// Returns the indices of those entries that the cache lacks and has room for, pinned ones first, then in their
    /// order. The budget, which is returned as well, is charged with their pages.
    func charge(_ entries: [PrefixTree.Entry]) -> (indices: [Int], budget: MemoryBudget) {
        shared.withLock { shared in
            let budget = shared.budget
            var isThere = shared.tree.known(entries)
            // An entry before a pinned one need not be pinned itself.
            var isPinned = entries.map { $0.pins > 0 }
            for (index, entry) in entries.enumerated().reversed() where isPinned[index] {
                if let parent = entry.parent { isPinned[parent] = true }
            }
            var charged: [Int] = []
            for pinned in [true, false] {
                for (index, entry) in entries.enumerated() where isPinned[index] == pinned && !isThere[index] {
                    let size = denoiser.pageSize(entry.tokens.count)
                    let isReached = entry.parent.map { isThere[$0] } ?? true
                    guard isReached, size <= budget.limit - budget.used else { continue }
                    budget.charge(size)
                    isThere[index] = true
                    charged.append(index)
                }
            }
            return (charged, budget)
        }
    }

    /// Adds entries, and returns how many tokens are new.
    func take(_ entries: [PrefixTree.Entry]) -> Int { shared.withLock { $0.tree.take(entries) } }
}
