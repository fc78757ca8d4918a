/// The states that a block has been in: its tokens, state after state.
struct SeenBlocks {
    private var tokens: [Int32]  // [states, blockLength]

    init(_ tokens: [Int32] = []) { self.tokens = tokens }

    /// The number of tokens of all states.
    var count: Int { tokens.count }

    mutating func reserveCapacity(_ count: Int) { tokens.reserveCapacity(count) }

    /// Adds a state. Returns false if it was there.
    mutating func insert(_ block: UnsafeBufferPointer<Int32>) -> Bool {
        for start in stride(from: 0, to: tokens.count, by: max(block.count, 1)) {
            if block.indices.allSatisfy({ tokens[start + $0] == block[$0] }) { return false }
        }
        tokens.append(contentsOf: block)
        return true
    }

    /// Forgets all that was added since `count` was this.
    mutating func removeAll(behind count: Int = 0) { tokens.removeLast(tokens.count - count) }

    func all(blockLength: Int) -> [[Int32]] {
        stride(from: 0, to: tokens.count, by: blockLength).map { Array(tokens[$0..<$0 + blockLength]) }
    }
}
