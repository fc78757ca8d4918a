import Kernels

/// The memory of final states. Whoever holds it alone may use it for other states.
package final class StateMemory: @unchecked Sendable {  // its holder writes before it shares it
    fileprivate var states: Scratch<Float>  // [rows, hidden]
    fileprivate var prepared: Scratch<UInt8>  // [rows] as the head takes them; empty if it takes f32

    package init(in budget: MemoryBudget? = nil) {
        (states, prepared) = (Scratch(in: budget), Scratch(in: budget))
    }

    /// Returns room for the states of `rows` rows.
    func reserve(rows: Int, hidden: Int) throws(LLaDAError) -> UnsafeMutablePointer<Float> {
        try states.reserve(rows * hidden)
    }
}

/// The normalized output of the last layer for the rows that want logits: all that later questions about a forward
/// need.
///
/// The states never change, so forks of a decoder share them.
package struct FinalStates: LogitSource, @unchecked Sendable {  // read only
    private let memory: AnyObject
    private let states: UnsafePointer<Float>  // [all rows, hidden]
    private let all: Operand
    private let rows: Range<Int>
    private let head: Matrix  // [vocab, hidden]
    private let compute: Compute
    /// Other ranks with parts of the head; nil: there are none.
    private let exchange: ExpertExchange?

    /// Makes states of their values.  states: [rows, hidden]
    package init(
        _ states: Buffer<Float>, rows: Int, head: Matrix, _ compute: Compute, exchange: ExpertExchange? = nil
    ) throws(LLaDAError) {
        let memory = StateMemory(in: compute.budget)
        let own = try memory.reserve(rows: rows, hidden: head.inputs)
        own.update(from: states.pointer, count: rows * head.inputs)
        try self.init(in: memory, rows: rows, room: rows, head: head, compute, exchange)
    }

    /// Makes states of the values in `memory`, which has room for `room` rows.
    init(
        in memory: StateMemory, rows: Int, room: Int, head: Matrix, _ compute: Compute, _ exchange: ExpertExchange?
    ) throws(LLaDAError) {
        self.exchange = exchange
        self.memory = memory
        states = UnsafePointer(try memory.reserve(rows: rows, hidden: head.inputs))
        self.rows = 0..<rows
        self.head = head
        self.compute = compute
        all = try compute.operand(
            states, stride: head.inputs, rows: rows, for: head, &memory.prepared, room: room)
    }

    private init(_ other: FinalStates, _ rows: Range<Int>) {
        (memory, states, all) = (other.memory, other.states, other.all)
        (head, compute, exchange) = (other.head, other.compute, other.exchange)
        self.rows = rows
    }

    /// Copies the states to `memory`, which gets room for `room` rows.
    package func copy(to memory: StateMemory, room: Int) throws(LLaDAError) -> FinalStates {
        let own = try memory.reserve(rows: max(room, count), hidden: head.inputs)
        if let base = values.baseAddress { own.update(from: base, count: values.count) }
        return try FinalStates(in: memory, rows: count, room: room, head: head, compute, exchange)
    }

    /// Copies the states of a row.  out: [hidden]
    func copy(row: Int, to out: UnsafeMutablePointer<Float>) {
        out.update(from: states + (rows.lowerBound + row) * head.inputs, count: head.inputs)
    }

    /// Returns room in `memory` for the states of `rows` rows of this model: [rows, hidden].
    func reserve(in memory: StateMemory, rows: Int) throws(LLaDAError) -> UnsafeMutablePointer<Float> {
        let own = try memory.reserve(rows: rows, hidden: head.inputs)
        if case .packed(let format) = head.layout {
            _ = try memory.prepared.reserve(rows * llk_row_size(format, head.inputs))
        }
        return own
    }

    /// The number of states of a row.
    var width: Int { head.inputs }

    /// Makes states, for this head, of the first `rows` rows in `memory`, which has room for `room` rows.
    func others(in memory: StateMemory, rows: Int, room: Int) throws(LLaDAError) -> FinalStates {
        try FinalStates(in: memory, rows: rows, room: room, head: head, compute, exchange)
    }

    package var count: Int { rows.count }
    package var vocabSize: Int { head.outputs }

    /// Returns the states of some of the rows.
    package func slice(_ range: Range<Int>) -> FinalStates { FinalStates(self, absolute(range)) }

    /// The states in f32: [count, hidden].
    package var values: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: states + rows.lowerBound * head.inputs, count: rows.count * head.inputs)
    }

    package func logits(
        _ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        compute.tile(all.rows(absolute(rows)), head, vocabulary, out - vocabulary.lowerBound, stride: stride)
    }

    package func findPeaks(
        _ adjust: [LogitAdjustment], room: Int, into peaks: UnsafeMutablePointer<Peak>,
        here: (UnsafeBufferPointer<Int>?) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        guard let exchange, let x = values.baseAddress else { return try here(nil) }
        try exchange.findPeaks(
            x, prepared: all.rows(rows), adjust, room: room, into: peaks, here: here)
    }

    private func absolute(_ range: Range<Int>) -> Range<Int> {
        rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound
    }
}
