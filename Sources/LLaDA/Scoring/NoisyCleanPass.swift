/// A run of the forwards of a plan, one after another. Clean blocks run under the strict block-causal mask. Each noisy
/// block runs over a table of its own: the clean pages before it and one page for itself. No other mask is needed.
struct NoisyCleanPass {
    /// A position whose logits are wanted, and the token that belongs there.
    struct Wanted {
        let sequence: Int
        let version: Int
        let position: Int
        let token: Int32
    }

    /// The result of one forward.
    struct Result {
        let logits: FinalStates  // of the wanted rows
        let wanted: [Wanted]
        let rowCount: Int
    }

    private let denoiser: any Denoiser
    private let plan: NoisyCleanPlan
    private let sequences: [NoisedSequence]
    private let everywhere: Bool
    /// The pages of the plan's nodes. A page is there from its computation until the last sequence that looks back to
    /// it is done.  [nodes]
    private var cleanPages: [Page?]
    /// The nodes whose pages go after each sequence.  [sequences]
    private var expiring: [[Int]]
    private var expired = 0
    private var noisyPages: [Page] = []  // of the current forward

    init(_ denoiser: any Denoiser, _ plan: NoisyCleanPlan, _ sequences: [NoisedSequence], everywhere: Bool) {
        self.denoiser = denoiser
        self.plan = plan
        self.sequences = sequences
        self.everywhere = everywhere
        cleanPages = Array(repeating: nil, count: plan.lastUsers.count)
        expiring = Array(repeating: [], count: sequences.count)
        for (node, user) in plan.lastUsers.enumerated() { expiring[user].append(node) }
    }

    /// Runs one forward. `progress` receives the number of rows that the finished layers are worth.
    mutating func run(_ blocks: [NoisyCleanPlan.Block], progress: @escaping Progress) throws(LLaDAError) -> Result {
        giveUp(before: blocks.first?.sequence ?? 0)
        var rows: [Row] = []
        var tables: [PageTable] = []
        var wanted: [Wanted] = []
        var noisyCount = 0
        var cleanSequence = -1  // the sequence whose clean blocks the last table is for
        for (place, block) in blocks.enumerated() {
            let sequence = sequences[block.sequence]
            let path = plan.paths[block.sequence]
            let positions = plan.positions(block.index, count: sequence.tokens.count)
            guard let version = block.version else {
                if cleanSequence != block.sequence {
                    // All pages are made at once: the table must hold the last page before rows are added to it.
                    let last = blocks[place...].last { $0.sequence == block.sequence && $0.version == nil } ?? block
                    for index in block.index...last.index { cleanPages[path[index]] = try makePage() }
                    tables.append(table(path[...last.index]))
                    cleanSequence = block.sequence
                }
                rows += positions.map { position in
                    Row(
                        sequence: tables.count - 1, position: position, token: sequence.tokens[position],
                        visibleEnd: positions.upperBound, wantsLogits: false)
                }
                continue
            }
            cleanSequence = -1
            if noisyCount == noisyPages.count { noisyPages.append(try makePage()) }
            tables.append(table(path[..<block.index], and: noisyPages[noisyCount]))
            noisyCount += 1
            for position in positions {
                let (token, own) = (sequence.noisyToken(version, position), sequence.tokens[position])
                let isScored = position >= sequence.promptLength && (everywhere || token != own)
                rows.append(
                    Row(
                        sequence: tables.count - 1, position: position, token: token, visibleEnd: positions.upperBound,
                        wantsLogits: isScored))
                if isScored {
                    wanted.append(Wanted(sequence: block.sequence, version: version, position: position, token: own))
                }
            }
        }
        let rowCount = Double(rows.count)
        let states = try denoiser.forward(Batch(rows: rows, tables: tables)) { (part) throws(LLaDAError) in
            try progress(part * rowCount)
        }
        return Result(logits: states, wanted: wanted, rowCount: rows.count)
    }

    private func table(_ path: ArraySlice<Int>, and noisy: Page? = nil) -> PageTable {
        PageTable(pages: path.compactMap { cleanPages[$0] } + (noisy.map { [$0] } ?? []), blockLength: plan.blockLength)
    }

    private func makePage() throws(LLaDAError) -> Page {
        try denoiser.makePage(plan.blockLength)
    }

    private mutating func giveUp(before sequence: Int) {
        while expired < sequence {
            for node in expiring[expired] { cleanPages[node] = nil }
            expired += 1
        }
    }
}
