/// Keys and values that decoders of one model share: a prompt, or a conversation, whose beginning was computed before
/// is not computed again.
///
/// Pages live under the tokens they were computed from, in whole blocks. All pages of the decoders that use the cache
/// count towards its budget; where that is reached, those least recently used go, of those that no decoder holds. Any
/// thread may use it at any time.
public final class PrefixCache: Sendable {
    public struct Statistics: Sendable, Equatable {
        /// Bytes that pages may take, and take: those that are cached, and those that decoders hold.
        public var maxBytes = 0
        public var bytes = 0
        /// Blocks that are cached, and those of them that are pinned.
        public var blocks = 0
        public var pinnedBlocks = 0
        /// How often a decoder lacked whole blocks and looked for them, and how often it found some.
        public var lookups = 0
        public var hits = 0
        /// Tokens that did not have to be computed.
        public var reusedTokens = 0
        public var evictedBlocks = 0
    }

    let denoiser: any Denoiser
    private let budget: PageBudget
    private let shared: Locked<Shared>

    /// Nodes never leave the lock.
    private struct Shared: @unchecked Sendable {
        var tree = PrefixTree()
        var statistics = Statistics()
    }

    /// `maxBytes`: of keys and values. A token takes 2 * num_hidden_layers * num_key_value_heads * head_dim numbers.
    package init(_ denoiser: any Denoiser, maxBytes: Int) throws(LLaDAError) {
        guard maxBytes > 0 else {
            throw LLaDAError(.invalidArgument, "max_bytes is \(maxBytes); expected at least 1")
        }
        self.denoiser = denoiser
        budget = PageBudget(limit: maxBytes)
        shared = Locked(Shared())
    }

    deinit { shared.withLock { $0.tree.clear(keepingPinned: false) } }

    public var statistics: Statistics {
        shared.withLock { shared in
            var statistics = shared.statistics
            statistics.maxBytes = budget.limit
            statistics.bytes = budget.used
            statistics.blocks = shared.tree.count
            statistics.pinnedBlocks = shared.tree.pinnedCount
            return statistics
        }
    }

    /// Keeps what is cached of the whole blocks of `tokens`, whatever else needs room; or no longer. Pins are counted.
    /// Returns how many tokens that are.
    public func pin(
        _ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ isPinned: Bool = true
    ) throws(LLaDAError) -> Int {
        try denoiser.config.check(blockLength: blockLength, canvas: 0)
        return shared.withLock { shared in
            let path = shared.tree.path(tokens, blockLength: blockLength, blocks: tokens.count / blockLength)
            shared.tree.pin(path, isPinned)
            return path.count * blockLength
        }
    }

    /// Forgets all that is not pinned. Decoders keep what they hold.
    public func clear() { shared.withLock { $0.tree.clear(keepingPinned: true) } }

    // MARK: For sequences

    /// A page to be written, within the budget.
    func makePage(blockLength: Int) throws(LLaDAError) -> Page {
        let size = denoiser.pageSize(blockLength)
        let hasRoom = shared.withLock { shared in
            while budget.used + size > budget.limit {
                guard shared.tree.evict() else { return false }
                shared.statistics.evictedBlocks += 1
            }
            budget.charge(size)
            return true
        }
        guard hasRoom else {
            throw LLaDAError(
                .outOfMemory,
                """
                the prefix cache may take \(budget.limit) bytes, and decoders and pins hold \(budget.used) of them: no \
                room for a block of \(size)
                """)
        }
        do throws(LLaDAError) {
            return try makeChargedPage(blockLength: blockLength)
        } catch {
            budget.giveBack(size)
            throw error
        }
    }

    /// The budget has been charged with it.
    func makeChargedPage(blockLength: Int) throws(LLaDAError) -> Page {
        try denoiser.makePage(blockLength, budget)
    }

    func giveBack(_ bytes: Int) { budget.giveBack(bytes) }

    /// The pages of blocks of `tokens`, from blocks.lowerBound on, as many as there are.
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

    /// Shares the pages of the first blocks of `tokens`; where the cache has one of its own, that takes the page's
    /// place.
    func share(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ pages: ArraySlice<Page>) -> ArraySlice<Page> {
        shared.withLock { shared in
            var pages = pages
            shared.tree.insert(tokens, blockLength: blockLength, &pages)
            return pages
        }
    }

    // MARK: For snapshots

    /// All that is cached, by last use.
    var entries: [PrefixTree.Entry] { shared.withLock { $0.tree.entries } }

    /// The places of those entries that are not here and for which there is room, pinned ones first, then by their
    /// order. The budget is charged with their pages.
    func charge(_ entries: [PrefixTree.Entry]) -> [Int] {
        shared.withLock { shared in
            var isThere = shared.tree.known(entries)
            // What stands before a pinned entry need not be pinned itself.
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
            return charged
        }
    }

    /// Adds entries; returns how many tokens are new.
    func take(_ entries: [PrefixTree.Entry]) -> Int { shared.withLock { $0.tree.take(entries) } }
}
