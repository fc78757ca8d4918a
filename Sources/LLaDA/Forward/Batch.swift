/// One token to run through the model.
package struct Row {
    /// An index into `Batch.tables`.
    package var sequence: Int
    /// The position in the sequence, from 0.
    package var position: Int
    package var token: Int32
    /// The end of the positions that the row attends to; see `BlockCausalMask`.
    package var visibleEnd: Int
    package var wantsLogits: Bool

    package init(sequence: Int = 0, position: Int, token: Int32, visibleEnd: Int, wantsLogits: Bool) {
        self.sequence = sequence
        self.position = position
        self.token = token
        self.visibleEnd = visibleEnd
        self.wantsLogits = wantsLogits
    }
}

/// The rows that one forward computes, of any sequences, blocks and purposes, and the tables of the sequences' pages.
///
/// The rows of a sequence stand together, by increasing position. A row's keys and values are written to its sequence's
/// pages. All else that the row attends to must have been written before, or be written by the same batch.
package struct Batch {
    package private(set) var rows: [Row] = []
    /// The pages of each sequence.
    package private(set) var tables: [PageTable] = []
    /// The expert mask of each sequence.
    private(set) var expertMasks: [ExpertMask?] = []
    /// The ranges of consecutive rows that attend to the same keys: usually one block each.
    package private(set) var runs: [Range<Int>] = []
    /// The numbers of rows, of those that want logits, and of those in a run, that later batches of these sequences may
    /// have.
    private(set) var mostRows = 0
    private(set) var mostWanted = 0
    private(set) var longestRun = 0
    private var mostTables = 0

    /// Returns the most rows of a forward when many rows wait: whole blocks, so that activations stay bounded.
    package static func mostRows(blockLength: Int) -> Int { max(blockLength, 512 / blockLength * blockLength) }

    package init() {}

    package init(rows: [Row], tables: [PageTable]) {
        self.tables = tables
        expertMasks = Array(repeating: nil, count: tables.count)
        for row in rows { append(row) }
    }

    /// Adds a sequence, without rows. Returns its index.
    package mutating func add(_ table: PageTable, _ mask: ExpertMask? = nil) -> Int {
        tables.append(table)
        expertMasks.append(mask)
        return tables.count - 1
    }

    package mutating func append(_ row: Row) {
        if let last = runs.last, rows[last.lowerBound].sequence == row.sequence,
            rows[last.lowerBound].visibleEnd == row.visibleEnd
        {
            runs[runs.count - 1] = last.lowerBound..<rows.count + 1
        } else {
            runs.append(rows.count..<rows.count + 1)
        }
        rows.append(row)
        longestRun = max(longestRun, runs[runs.count - 1].count)
    }

    /// Says how large later batches of these sequences may be, so that their memory is there from now on.
    /// Throws `.outOfMemory`.
    package mutating func expect(rows: Int, wanted: Int, longestRun: Int, tables: Int) throws(LLaDAError) {
        mostRows = max(mostRows, rows)
        mostTables = max(mostTables, tables)
        mostWanted = max(mostWanted, wanted)
        self.longestRun = max(self.longestRun, longestRun)
        try self.rows.reserve(rows)
        try runs.reserve(rows)
        try self.tables.reserve(tables)
        try expertMasks.reserve(tables)
    }

    /// Makes room for some more rows, and for two tables of their sequence. Throws `.outOfMemory`.
    package mutating func makeRoom(for rows: Int) throws(LLaDAError) {
        try self.rows.makeRoom(for: rows)
        try runs.makeRoom(for: rows)
        try tables.makeRoom(for: 2)
        try expertMasks.makeRoom(for: 2)
    }

    /// Takes the memory that `other` has.
    mutating func expect(as other: Batch) throws(LLaDAError) {
        try expect(
            rows: max(other.mostRows, other.rows.count), wanted: other.mostWanted, longestRun: other.longestRun,
            tables: max(other.mostTables, other.tables.count))
    }

    /// Removes everything, but keeps the memory.
    package mutating func removeAll() {
        rows.removeAll(keepingCapacity: true)
        tables.removeAll(keepingCapacity: true)
        expertMasks.removeAll(keepingCapacity: true)
        runs.removeAll(keepingCapacity: true)
        (mostRows, mostWanted, longestRun, mostTables) = (0, 0, 0, 0)
    }

    /// Becomes a batch of some rows of another one, in their order.
    mutating func become(_ other: Batch, keeping indices: [Int]) throws(LLaDAError) {
        removeAll()
        try expect(as: other)
        tables.append(contentsOf: other.tables)
        expertMasks.append(contentsOf: other.expertMasks)
        for index in indices { append(other.rows[index]) }
    }

    /// Returns which experts of a layer a row may not choose; nil if it may choose any.  [experts]
    func disabledExperts(_ row: Row, layer: Int) -> [Bool]? { expertMasks[row.sequence]?.disabled(in: layer) }
}

/// The strict block-causal mask: a position attends to its whole block and to all blocks before
/// (spec: model.md, section 1). It depends on positions alone, so it is stored as the end of what each row attends to.
package enum BlockCausalMask {
    package static func visibleEnd(of position: Int, blockLength: Int, length: Int) -> Int {
        min((position / blockLength + 1) * blockLength, length)
    }
}
