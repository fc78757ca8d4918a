/// A tree of pages. The path from the root to a node spells the tokens up to the end of the node's block. Nodes also
/// stand in a list by last use. The tree has no lock of its own; `PrefixCache` has one.
struct PrefixTree {
    /// A block of tokens and its page. The parent, or `roots`, holds the node.
    final class Node {
        let tokens: [Int32]  // [blockLength]: the key, which is compared and not only hashed
        fileprivate(set) var page: Page
        fileprivate(set) var children: [[Int32]: Node] = [:]
        /// The number of pinned prefixes that the node is part of.
        fileprivate(set) var pins = 0
        fileprivate unowned(unsafe) let parent: Node?
        fileprivate unowned(unsafe) var newer: Node?
        fileprivate unowned(unsafe) var older: Node?
        /// Whether `clear` keeps the node, and the next of those that it removes.
        fileprivate var isKept = false
        fileprivate var nextGone: Node?

        fileprivate init(_ tokens: [Int32], _ page: Page, parent: Node?) {
            self.tokens = tokens
            self.page = page
            self.parent = parent
        }
    }

    /// The first nodes, by block length and tokens: prefixes in blocks of different lengths never share a node.
    private(set) var roots: [Int: [[Int32]: Node]] = [:]
    private var newest: Node?
    private var oldest: Node?
    private(set) var count = 0
    private(set) var pinnedCount = 0

    /// Returns the nodes of the leading whole blocks of `tokens`, up to the first that is missing.
    func path(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, blocks: Int) -> [Node] {
        var path: [Node] = []
        while path.count < blocks {
            let children = path.last?.children ?? roots[blockLength] ?? [:]
            guard let node = children[Self.key(tokens, path.count, blockLength)] else { break }
            path.append(node)
        }
        return path
    }

    /// Inserts the first pages.count blocks of `tokens`. Where there is a node already, its page replaces the caller's.
    mutating func insert(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ pages: inout ArraySlice<Page>) {
        var path = path(tokens, blockLength: blockLength, blocks: pages.count)
        for (index, node) in path.enumerated() { pages[pages.startIndex + index] = node.page }
        for index in path.count..<pages.count {
            path.append(add(Self.key(tokens, index, blockLength), pages[pages.startIndex + index], behind: path.last))
        }
        use(path)
    }

    /// Adds a node where there is none. The caller must pass it to `use`, which puts it into the list.
    private mutating func add(_ tokens: [Int32], _ page: Page, behind parent: Node?) -> Node {
        let node = Node(tokens, page, parent: parent)
        if let parent {
            parent.children[tokens] = node
        } else {
            roots[tokens.count, default: [:]][tokens] = node
        }
        count += 1
        return node
    }

    /// How many bytes copies of all nodes take: see `PrefixCache.memory`.
    var memory: Int {
        var bytes = 0
        var next = newest
        while let node = next {
            bytes += 256 + 16 * node.tokens.count
            next = node.older
        }
        return bytes
    }

    /// Makes these nodes the newest, the first of the path newest of all: so the oldest node usually has no children.
    mutating func use(_ path: [Node]) {
        for node in path.reversed() {
            unlink(node)
            node.older = newest
            newest?.newer = node
            newest = node
            if oldest == nil { oldest = node }
        }
    }

    mutating func pin(_ path: [Node], _ isPinned: Bool) {
        for node in path where isPinned || node.pins > 0 {
            let before = node.pins
            node.pins += isPinned ? 1 : -1
            if before == 0 { pinnedCount += 1 } else if node.pins == 0 { pinnedCount -= 1 }
        }
    }

    /// Removes the least recently used node that has no children and no pins, and whose page no sequence holds. Returns
    /// false if there is none.
    mutating func evict() -> Bool {
        var candidate = oldest
        while let node = candidate {
            if node.children.isEmpty, node.pins == 0, Page.isUnshared(&node.page) {
                remove(node)
                return true
            }
            candidate = node.newer
        }
        return false
    }

    /// Removes all nodes, or all but the pinned ones and those before them. Sequences keep the pages they hold.
    mutating func clear(keepingPinned: Bool) {
        if keepingPinned { markPinned() }
        // The nodes that go are chained: a list of them would need memory.
        var gone: Node?
        var next = newest
        while let node = next {
            next = node.older
            if !node.isKept {
                node.nextGone = gone
                gone = node
            }
            node.isKept = false
        }
        // Each node is removed by itself: a chain of nodes that is freed link by link would need a stack as long as a
        // prompt.
        next = gone
        while let node = next {
            next = node.nextGone
            remove(node)
        }
        while let node = gone {
            gone = node.nextGone
            node.nextGone = nil
            node.children = [:]
        }
    }

    /// Marks the pinned nodes and all before them. Those need not be pinned themselves, if a shorter prefix was
    /// unpinned.
    private func markPinned() {
        var next = newest
        while let node = next {
            next = node.older
            var pinned = node.pins > 0 ? node : nil
            while let node = pinned, !node.isKept {
                node.isKept = true
                pinned = node.parent
            }
        }
    }

    private mutating func remove(_ node: Node) {
        unlink(node)
        if let parent = node.parent {
            parent.children[node.tokens] = nil
        } else {
            roots[node.tokens.count]?[node.tokens] = nil
        }
        count -= 1
        if node.pins > 0 { pinnedCount -= 1 }
    }

    private mutating func unlink(_ node: Node) {
        if newest === node { newest = node.older }
        if oldest === node { oldest = node.newer }
        node.newer?.older = node.older
        node.older?.newer = node.newer
        (node.newer, node.older) = (nil, nil)
    }

    private static func key(_ tokens: UnsafeBufferPointer<Int32>, _ block: Int, _ blockLength: Int) -> [Int32] {
        Array(tokens[block * blockLength..<(block + 1) * blockLength])
    }
}

// MARK: Snapshots

extension PrefixTree {
    /// A node outside the tree.
    struct Entry {
        let tokens: [Int32]  // [blockLength]
        /// The index of the parent in the list of entries. The parent stands before this entry.
        let parent: Int?
        let pins: Int
        /// The page; nil if the tree has it already, or if this entry is left out with all behind it.
        var page: Page?
    }

    /// All nodes, the newest first, so that each parent stands before its children.
    var entries: [Entry] {
        var entries: [Entry] = []
        var places: [ObjectIdentifier: Int] = [:]
        var next = newest
        while let node = next {
            places[ObjectIdentifier(node)] = entries.count
            let parent = node.parent.flatMap { places[ObjectIdentifier($0)] }
            entries.append(Entry(tokens: node.tokens, parent: parent, pins: node.pins, page: node.page))
            next = node.older
        }
        return entries
    }

    /// Returns which of the entries have a node.
    func known(_ entries: [Entry]) -> [Bool] {
        var nodes: [Node?] = []
        for entry in entries { nodes.append(node(of: entry, nodes)) }
        return nodes.map { $0 != nil }
    }

    /// Adds entries, in their order, as newer than the present nodes. Returns how many tokens are new.
    mutating func take(_ entries: [Entry]) -> Int {
        var new = 0
        var nodes: [Node?] = []
        for entry in entries {
            var node = node(of: entry, nodes)
            let parent = entry.parent.flatMap { nodes[$0] }
            if node == nil, let page = entry.page, entry.parent == nil || parent != nil {
                node = add(entry.tokens, page, behind: parent)
                new += entry.tokens.count
            }
            nodes.append(node)
        }
        use(nodes.compactMap { $0 })
        for (node, entry) in zip(nodes, entries) {
            guard let node, entry.pins > node.pins else { continue }
            if node.pins == 0 { pinnedCount += 1 }
            node.pins = entry.pins
        }
        return new
    }

    /// Returns the node of an entry.  nodes: the nodes of the entries before it
    private func node(of entry: Entry, _ nodes: [Node?]) -> Node? {
        guard let place = entry.parent else { return roots[entry.tokens.count]?[entry.tokens] }
        return nodes[place]?.children[entry.tokens]
    }
}
