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
    package let rows: [Row]
    /// The pages of each sequence.
    package let tables: [PageTable]
    /// The expert mask of each sequence; empty if no sequence has one.
    let expertMasks: [ExpertMask?]
    /// The ranges of consecutive rows that attend to the same keys: usually one block each.
    package let runs: [Range<Int>]

    /// Returns the most rows of a forward when many rows wait: whole blocks, so that activations stay bounded.
    package static func mostRows(blockLength: Int) -> Int { max(blockLength, 512 / blockLength * blockLength) }

    package init(rows: [Row], tables: [PageTable], expertMasks: [ExpertMask?] = []) {
        self.rows = rows
        self.tables = tables
        self.expertMasks = expertMasks.contains { $0 != nil } ? expertMasks : []
        runs = Self.runs(of: rows)
    }

    /// Returns a batch of some of the rows, in their order.
    func keeping(_ indices: [Int]) -> Batch {
        Batch(rows: indices.map { rows[$0] }, tables: tables, expertMasks: expertMasks)
    }

    /// Returns which experts of a layer a row may not choose; nil if it may choose any.  [experts]
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

/// The strict block-causal mask: a position attends to its whole block and to all blocks before
/// (spec: model.md, section 1). It depends on positions alone, so it is stored as the end of what each row attends to.
package enum BlockCausalMask {
    package static func visibleEnd(of position: Int, blockLength: Int, length: Int) -> Int {
        min((position / blockLength + 1) * blockLength, length)
    }
}
