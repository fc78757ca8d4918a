/// The normalized output of the last layer for the rows that want logits: all that later questions about a forward
/// need.
///
/// The states never change, so forks of a decoder share them, and each decoder of a batch holds a slice of its rows.
package struct FinalStates: LogitSource, @unchecked Sendable {  // read only
    private let states: Buffer<Float>  // [all rows, hidden]
    private let prepared: Buffer<UInt8>  // [all rows] as the head takes them; empty if it takes f32
    private let all: Operand
    private let rows: Range<Int>
    private let head: Matrix  // [vocab, hidden]
    private let compute: Compute

    /// Makes states of their values.  states: [rows, hidden]
    package init(_ states: Buffer<Float>, rows: Int, head: Matrix, _ compute: Compute) throws(LLaDAError) {
        self.states = states
        self.rows = 0..<rows
        self.head = head
        self.compute = compute
        (all, prepared) = try compute.operand(states.pointer, stride: head.inputs, rows: rows, for: head)
    }

    private init(_ other: FinalStates, _ rows: Range<Int>) {
        (states, prepared, all) = (other.states, other.prepared, other.all)
        (head, compute) = (other.head, other.compute)
        self.rows = rows
    }

    package var count: Int { rows.count }
    package var vocabSize: Int { head.outputs }

    /// Returns the states of some of the rows.
    package func slice(_ range: Range<Int>) -> FinalStates { FinalStates(self, absolute(range)) }

    /// The states in f32: [count, hidden].
    package var values: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: states.pointer + rows.lowerBound * head.inputs, count: rows.count * head.inputs)
    }

    package func logits(
        _ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
    ) {
        compute.tile(all.rows(absolute(rows)), head, vocabulary, out - vocabulary.lowerBound, stride: stride)
    }

    private func absolute(_ range: Range<Int>) -> Range<Int> {
        rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound
    }
}
