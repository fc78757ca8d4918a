/// The parts of a sequence that a snapshot keeps.
extension CachedSequence {
    /// What a snapshot keeps of the pages: those of the first blocks, the tokens that they were computed from, and how
    /// many of these have exact K/V.
    struct SavedPages {
        var pages: [Page] = []
        var tokens: [Int32] = []
        var exactLength = 0
    }

    /// The states of the last forward, or of the one before if it failed, [rows, hidden]; empty if there was none.
    var savedStates: UnsafeBufferPointer<Float> {
        (states ?? kept)?.values ?? UnsafeBufferPointer(start: nil, count: 0)
    }

    /// Returns the pages that are valid for `tokens`, from the first on; with `parts`, all that a decoder needs which
    /// runs parts of blocks.
    func savedPages(_ tokens: UnsafeBufferPointer<Int32>, parts: Bool) -> SavedPages {
        let end = parts ? computed.count / blockLength * blockLength : holding(tokens, exactly: true)
        return SavedPages(
            pages: Array(pages[..<(end / blockLength)]), tokens: Array(computed[..<end]),
            exactLength: min(exactLength, end))
    }

    /// The block that has run along, if it would be used over `tokens`, and its states, [blockLength, hidden].
    func savedRider(_ tokens: UnsafeBufferPointer<Int32>) -> (block: Int, states: UnsafeBufferPointer<Float>)? {
        guard let ridden, holding(tokens, exactly: false) >= ridden.block.upperBound else { return nil }
        return (ridden.block.lowerBound / blockLength, ridden.states.values)
    }

    /// Restores a block that has run along, whose page is there.  values: [blockLength, hidden]
    func restoreRider(_ block: Int, _ values: Buffer<Float>) throws(LLaDAError) {
        let positions = block * blockLength..<(block + 1) * blockLength
        ridden = Ridden(block: positions, states: try denoiser.finalStates(values, rows: blockLength))
    }

    /// Restores the states of a forward over `rows` positions: of the last one, or of the one before it, of which rows
    /// are kept.  values: [rows, hidden]
    func restore(states values: Buffer<Float>, rows: Int, areKept: Bool) throws(LLaDAError) {
        let restored = try denoiser.finalStates(values, rows: rows)
        if areKept { kept = restored } else { states = restored }
    }

    /// Restores the keys and values of blocks that were computed from `tokens`, the first `exact` of them exactly. The
    /// prefix cache gives those that it has; `fill` fills the page of each other block, by the block's number.
    func restore(
        _ tokens: [Int32], exactLength exact: Int, fill: (Int, Page) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        try computed.reserve(tokens.count)
        try pages.reserve(tokens.count / blockLength)
        let copy = try Buffer<Int32>(count: tokens.count)
        for (position, token) in tokens.enumerated() { copy.pointer[position] = token }
        let start = try attach(UnsafeBufferPointer(start: copy.pointer, count: tokens.count), 0..<exact)
        try makeWritable(start..<tokens.count)
        for block in start / blockLength..<tokens.count / blockLength { try fill(block, pages[block]) }
        computed += tokens[start...]
        exactLength = exact
    }
}
