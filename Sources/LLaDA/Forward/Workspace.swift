import Kernels

/// The memory of one forward, from its rows to the predictions. It belongs to one forward at a time, and grows to the
/// largest batch: a forward that is no larger than those before allocates nothing.
package final class Workspace: @unchecked Sendable {  // one thread at a time has it
    /// The rows of the forward. Those who run one fill it, and `clear` it afterwards.
    package var batch = Batch()
    /// The requests that end the forward.
    package var cancellations: [Cancellation] = []
    // Who is told how much is done, and may end the forward; see `report`.
    var progress: Progress?
    var reportInterval: UInt64 = 0
    var lastReport: UInt64 = 0  // nanoseconds
    var rowsToDo = 0  // in all forwards
    package var rowsDone = 0  // in those before this one
    var layer = (index: 0, count: 1)  // that this forward has come to
    var isStoppable = true
    /// The final states of several sequences together.
    package let states: StateMemory
    /// The final states of the rows that are judged.
    package let judged: StateMemory
    var wanted: [Int] = []  // the rows of the batch that want logits
    var wantedBatch = Batch()  // these rows
    var routing = Routing()
    var plan = Experts.Plan()
    var pools: Scratch<Bool>  // [rows, experts]
    var choices: Scratch<Float>  // [threads, see Router.choose]
    var ranks: Scratch<Int32>  // [threads, see Router.choose]
    var residual: Scratch<Float>  // [rows, hidden]
    var normed: Scratch<Float>  // [rows, hidden]
    var delta: Scratch<Float>  // [rows, hidden]
    var queryKeyValue: Scratch<Float>  // [rows, (heads + 2 kvHeads) * headDim]
    var mixed: Scratch<Float>  // [rows, heads * headDim]
    var attention: Scratch<Float>  // [threads, see Attention.attend]
    var gate: Scratch<Float>  // [rows, intermediate]
    var up: Scratch<Float>  // [rows, intermediate]
    var router: Scratch<Float>  // [rows, experts]
    var operand: Scratch<UInt8>  // [rows, prepared row]
    var expertOperands: Scratch<UInt8>  // [threads, piece] of the prepared rows of x and of h
    var expertGate: Scratch<Float>  // [threads, 2, piece, moeIntermediate]
    var expertResults: Scratch<Float>  // [rows * k, hidden]
    var shared: Scratch<Float>  // [rows, hidden]
    package var logits: Scratch<Float>  // see LogitSource.forEachTile
    package var peaks: Scratch<Peak>  // [tiles, rows]
    var bestEntries: Scratch<BestTokens.Entry>  // [threads, rows, tokens]
    var bestCounts: Scratch<Int32>  // [threads, rows]
    package var draws: Scratch<UInt64>  // [threads, see SamplerMemory]
    package var adjustments: [LogitAdjustment] = []  // [rows]
    package var tokens: Scratch<Int32>  // [rows]: the predictions
    package var confidences: Scratch<Float>  // [rows]
    private var anglesScratch: Scratch<Float>  // [rows, 2 (cosines, sines), rotaryDim / 2]
    private(set) var angles: UnsafePointer<Float>

    /// The most rows of a forward so far, and of those that are to come: activations have room for as many.
    private(set) var mostRows = 0

    /// The memory counts towards `budget`. Throws `.outOfMemory`.
    package init(in budget: MemoryBudget? = nil) throws(LLaDAError) {
        states = StateMemory(in: budget)
        judged = StateMemory(in: budget)
        pools = Scratch(in: budget)
        choices = Scratch(in: budget)
        ranks = Scratch(in: budget)
        residual = Scratch(in: budget)
        normed = Scratch(in: budget)
        delta = Scratch(in: budget)
        queryKeyValue = Scratch(in: budget)
        mixed = Scratch(in: budget)
        attention = Scratch(in: budget)
        gate = Scratch(in: budget)
        up = Scratch(in: budget)
        router = Scratch(in: budget)
        operand = Scratch(in: budget)
        expertOperands = Scratch(in: budget)
        expertGate = Scratch(in: budget)
        expertResults = Scratch(in: budget)
        shared = Scratch(in: budget)
        logits = Scratch(in: budget)
        peaks = Scratch(in: budget)
        bestEntries = Scratch(in: budget)
        bestCounts = Scratch(in: budget)
        draws = Scratch(in: budget)
        tokens = Scratch(in: budget)
        confidences = Scratch(in: budget)
        var angles = Scratch<Float>(in: budget)
        self.angles = UnsafePointer(try angles.reserve(1))
        anglesScratch = angles
    }

    /// Notes which of the rows want logits.
    func want(_ rows: [Row]) {
        wanted.removeAll(keepingCapacity: true)
        for (index, row) in rows.enumerated() where row.wantsLogits { wanted.append(index) }
    }

    /// Begins a forward of `batch`.
    func begin(_ batch: Batch) throws(LLaDAError) {
        mostRows = max(mostRows, batch.rows.count, batch.mostRows)
        try wanted.reserve(mostRows)
        try wantedBatch.expect(as: batch)
    }

    /// Makes room for some rows that come from elsewhere.
    func makeRoom(for rows: Int) { mostRows = max(mostRows, rows) }

    /// Forgets the rows, and with them the pages of their sequences.
    package func clear() {
        batch.removeAll()
        wantedBatch.removeAll()
        cancellations.removeAll(keepingCapacity: true)
        layer = (0, 1)
        adjustments.removeAll(keepingCapacity: true)
    }

    /// Computes the angles of all rows, which are the same for every layer.
    func prepareAngles(_ rows: [Row], _ rotary: Rotary) throws(LLaDAError) {
        let half = rotary.half
        let base = try anglesScratch.reserve(mostRows * 2 * half)
        for (index, row) in rows.enumerated() {
            let cosines = base + index * 2 * half
            rotary.fill(cosines, cosines + half, position: row.position)
        }
        angles = UnsafePointer(base)
    }
}

/// The workspaces of a model: as many as the most forwards that have run at once. An idle decoder needs none.
package final class WorkspacePool: Sendable {
    /// Nothing else refers to these, nor to one that `take` has returned.
    private let idle = Locked<[Workspace]>([])
    private let budget: MemoryBudget

    init(_ budget: MemoryBudget) { self.budget = budget }

    package func take() throws(LLaDAError) -> Workspace {
        if let workspace = idle.withLock({ $0.popLast() }) { return workspace }
        return try Workspace(in: budget)
    }

    package func giveBack(_ workspace: Workspace) {
        workspace.clear()
        workspace.report(to: nil, rows: 0, interval: 0)
        idle.withLock { $0.append(workspace) }
    }
}
