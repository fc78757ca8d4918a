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

/// Where a sequence's keys and values are: page i holds positions i * blockLength ..< (i + 1) * blockLength.
package struct PageTable {
    package let pages: [Page]
    package let blockLength: Int

    package init(pages: [Page], blockLength: Int) {
        self.pages = pages
        self.blockLength = blockLength
    }
}

/// What one forward computes: rows of any sequences, blocks and purposes, and where each sequence's keys and values are.
///
/// Rows of a sequence stand together, by increasing position. A row's keys and values are written to its sequence's
/// pages; whatever else it sees must have been written before, or be written by the same batch.
package struct Batch {
    package let rows: [Row]
    /// One a sequence.
    package let tables: [PageTable]
    /// Consecutive rows that see the same keys: usually one block each.
    let runs: [Range<Int>]

    package init(rows: [Row], tables: [PageTable]) {
        self.rows = rows
        self.tables = tables
        runs = Self.runs(of: rows)
    }

    private static func runs(of rows: [Row]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var start = 0
        for index in rows.indices.dropFirst() + [rows.count] where index > start {
            let ended = index == rows.count || rows[index].sequence != rows[start].sequence
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
