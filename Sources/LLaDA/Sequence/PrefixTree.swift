/// Pages under the tokens they were computed from: the way from the root to a node spells the tokens up to the end of
/// its block. Nodes also stand in a list by last use. No locks: `PrefixCache` has one.
struct PrefixTree {
    /// Held by its parent, or by `roots`.
    final class Node {
        let tokens: [Int32]  // [blockLength]: the key; compared, not only hashed
        fileprivate(set) var page: Page
        fileprivate(set) var children: [[Int32]: Node] = [:]
        /// How many of the pinned prefixes it is part of.
        fileprivate(set) var pins = 0
        fileprivate unowned(unsafe) let parent: Node?
        fileprivate unowned(unsafe) var newer: Node?
        fileprivate unowned(unsafe) var older: Node?

        fileprivate init(_ tokens: [Int32], _ page: Page, parent: Node?) {
            self.tokens = tokens
            self.page = page
            self.parent = parent
        }
    }

    /// Blocks of different lengths never meet.
    private(set) var roots: [Int: [[Int32]: Node]] = [:]
    private var newest: Node?
    private var oldest: Node?
    private(set) var count = 0
    private(set) var pinnedCount = 0

    /// The nodes of the whole blocks of `tokens`, as far as there are any.
    func path(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, blocks: Int) -> [Node] {
        var path: [Node] = []
        while path.count < blocks {
            let children = path.last?.children ?? roots[blockLength] ?? [:]
            guard let node = children[Self.key(tokens, path.count, blockLength)] else { break }
            path.append(node)
        }
        return path
    }

    /// Sees to it that the first pages.count blocks of `tokens` are there. Where one is already, its page takes the
    /// place of the caller's.
    mutating func insert(_ tokens: UnsafeBufferPointer<Int32>, blockLength: Int, _ pages: inout ArraySlice<Page>) {
        var path = path(tokens, blockLength: blockLength, blocks: pages.count)
        for (index, node) in path.enumerated() { pages[pages.startIndex + index] = node.page }
        for index in path.count..<pages.count {
            path.append(add(Self.key(tokens, index, blockLength), pages[pages.startIndex + index], behind: path.last))
        }
        use(path)
    }

    /// A node where there is none yet. It has to be used then: it stands in no list.
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

    /// Makes these the newest, the first of the path most of all: so what is oldest has nothing behind it, as a rule.
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

    /// Forgets the node least recently used of those that no sequence holds, no pin, and no node behind them. False if
    /// there is none.
    mutating func evict() -> Bool {
        var candidate = oldest
        while let node = candidate {
            if node.children.isEmpty, node.pins == 0, isKnownUniquelyReferenced(&node.page) {
                remove(node)
                return true
            }
            candidate = node.newer
        }
        return false
    }

    /// Forgets all nodes, or all but the pinned and what stands before them; sequences keep the pages they hold.
    mutating func clear(keepingPinned: Bool) {
        let kept = keepingPinned ? withPins() : []
        var gone: [Node] = []
        var next = newest
        while let node = next {
            next = node.older
            if !kept.contains(ObjectIdentifier(node)) { gone.append(node) }
        }
        // All at once, and each by itself: a chain of nodes that goes link by link would need a stack as long as a
        // prompt.
        for node in gone { remove(node) }
        for node in gone { node.children = [:] }
    }

    /// The pinned nodes and all before them: these need not be pinned themselves, when a shorter prefix was unpinned.
    private func withPins() -> Set<ObjectIdentifier> {
        var kept: Set<ObjectIdentifier> = []
        var next = newest
        while let node = next {
            next = node.older
            var pinned = node.pins > 0 ? node : nil
            while let node = pinned, kept.insert(ObjectIdentifier(node)).inserted { pinned = node.parent }
        }
        return kept
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
    /// A node by itself.
    struct Entry {
        let tokens: [Int32]  // [blockLength]
        /// The place, in a list of entries, of the one that it is behind of; that one stands before it.
        let parent: Int?
        let pins: Int
        /// Nil: it is there already, or is left out, with all behind it.
        var page: Page?
    }

    /// All nodes, the newest first: so none stands before the one that it is behind of.
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

    /// Which of the entries have a node.
    func known(_ entries: [Entry]) -> [Bool] {
        var nodes: [Node?] = []
        for entry in entries { nodes.append(node(of: entry, nodes)) }
        return nodes.map { $0 != nil }
    }

    /// Takes over entries, in their order, as newer than what is here. Returns how many tokens are new.
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

    /// nodes: those of the entries before this one
    private func node(of entry: Entry, _ nodes: [Node?]) -> Node? {
        guard let place = entry.parent else { return roots[entry.tokens.count]?[entry.tokens] }
        return nodes[place]?.children[entry.tokens]
    }
}
