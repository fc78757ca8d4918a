/// One token to run through the model.
package struct Row {
    /// Index into `Batch.tables`.
    package var sequence: Int
    /// Absolute, from 0.
    package var position: Int
    package var token: Int32
    /// The row attends to positions before this one; see `BlockCausalMask`.
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

/// What one forward computes: rows of any sequences, blocks and purposes, and where each sequence's keys and values
/// are.
///
/// Rows of a sequence stand together, by increasing position. A row's keys and values are written to its sequence's
/// pages; whatever else it sees must have been written before, or be written by the same batch.
package struct Batch {
    package let rows: [Row]
    /// One a sequence.
    package let tables: [PageTable]
    /// One a sequence; none if no sequence has one.
    let expertMasks: [ExpertMask?]
    /// Consecutive rows that see the same keys: usually one block each.
    package let runs: [Range<Int>]

    /// Rows of a forward when many wait: whole blocks, so that activations stay bounded.
    package static func mostRows(blockLength: Int) -> Int { max(blockLength, 512 / blockLength * blockLength) }

    package init(rows: [Row], tables: [PageTable], expertMasks: [ExpertMask?] = []) {
        self.rows = rows
        self.tables = tables
        self.expertMasks = expertMasks.contains { $0 != nil } ? expertMasks : []
        runs = Self.runs(of: rows)
    }

    /// Some of the rows, in their order.
    func keeping(_ indices: [Int]) -> Batch {
        Batch(rows: indices.map { rows[$0] }, tables: tables, expertMasks: expertMasks)
    }

    /// Which experts of a layer a row may not choose; nil: it may choose any.  [experts]
    func disabledExperts(_ row: Row, layer: Int) -> [Bool]? {
        expertMasks.isEmpty ? nil : expertMasks[row.sequence]?.disabled(in: layer)
    }

    private static func runs(of rows: [Row]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var start = 0
        for index in rows.indices.dropFirst() + [rows.count] where index > start {
            let ended =
                index == rows.count || rows[index].sequence != rows[start].sequence
                || rows[index].visibleEnd != rows[start].visibleEnd
            if ended {
                runs.append(start..<index)
                start = index
            }
        }
        return runs
    }
}

/// The strict block-causal mask: a position sees its own block, all of it, and all blocks before
/// (spec: model.md, section 1). It is a property of positions alone, so it is stored as where each row's sight ends.
package enum BlockCausalMask {
    package static func visibleEnd(of position: Int, blockLength: Int, length: Int) -> Int {
        min((position / blockLength + 1) * blockLength, length)
    }
}
