/// The last layer's output, normed, for the rows that want logits: all that later questions about a forward need.
///
/// Never changes, so forks of a decoder share it, and each decoder of a batch holds its rows.
package struct FinalStates: @unchecked Sendable {  // read only
    private let states: Buffer<Float>  // [all rows, hidden]
    private let prepared: Buffer<UInt8>  // [all rows] as the head wants them; nothing if it wants f32
    private let all: Operand
    private let rows: Range<Int>

    init(_ states: Buffer<Float>, rows: Int, for head: Matrix, _ compute: Compute) throws(LLaDAError) {
        self.states = states
        self.rows = 0..<rows
        (all, prepared) = try compute.operand(states.pointer, stride: head.inputs, rows: rows, for: head)
    }

    private init(_ other: FinalStates, _ rows: Range<Int>) {
        (states, prepared, all) = (other.states, other.prepared, other.all)
        self.rows = rows
    }

    package var count: Int { rows.count }

    /// Some of the rows.
    package func slice(_ range: Range<Int>) -> FinalStates {
        FinalStates(self, rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound)
    }

    func operand(_ range: Range<Int>) -> Operand {
        all.rows(rows.lowerBound + range.lowerBound..<rows.lowerBound + range.upperBound)
    }

    /// [count, hidden], in f32
    package func values(hidden: Int) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: states.pointer + rows.lowerBound * hidden, count: rows.count * hidden)
    }
}
