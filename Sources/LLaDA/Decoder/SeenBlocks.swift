/// The states that a block has been in: its tokens, state after state.
struct SeenBlocks {
    private var tokens: [Int32]  // [states, blockLength]

    init(_ tokens: [Int32] = []) { self.tokens = tokens }

    /// The number of tokens of all states.
    var count: Int { tokens.count }

    mutating func reserveCapacity(_ count: Int) { tokens.reserveCapacity(count) }

    /// Makes room for one more state. Throws `.outOfMemory`.
    mutating func makeRoom(blockLength: Int) throws(LLaDAError) { try tokens.makeRoom(for: blockLength) }

    func contains(_ block: some RandomAccessCollection<Int32>) -> Bool {
        for start in stride(from: 0, to: tokens.count, by: max(block.count, 1)) {
            if zip(tokens[start...], block).allSatisfy(==) { return true }
        }
        return false
    }

    /// Adds a state. Returns false if it was there.
    @discardableResult
    mutating func insert(_ block: some RandomAccessCollection<Int32>) -> Bool {
        if contains(block) { return false }
        tokens.append(contentsOf: block)
        return true
    }

    /// Calls `body` with the token of each state at a place of the block.
    func forEachToken(at place: Int, blockLength: Int, _ body: (Int32) -> Void) {
        for index in stride(from: place, to: tokens.count, by: blockLength) { body(tokens[index]) }
    }

    /// Forgets all that was added since `count` was this.
    mutating func removeAll(behind count: Int = 0) { tokens.removeLast(tokens.count - count) }

    func all(blockLength: Int) -> [[Int32]] {
        stride(from: 0, to: tokens.count, by: blockLength).map { Array(tokens[$0..<$0 + blockLength]) }
    }
}
