/// The part of another rank than 0 in the head: it finds the peaks of its tiles of the vocabulary.
package final class HeadService {
    private let slice: Matrix  // [vocabulary of the rank, hidden]
    private let placement: HeadPlacement
    private let rank: Int
    private let compute: Compute
    private var operand: Scratch<UInt8>
    private var logits: Scratch<Float>
    private var peaks: Scratch<Peak>

    package init(_ slice: Matrix, _ placement: HeadPlacement, rank: Int, _ compute: Compute) {
        self.slice = slice
        self.placement = placement
        self.rank = rank
        self.compute = compute
        operand = Scratch(in: compute.budget)
        logits = Scratch(in: compute.budget)
        peaks = Scratch(in: compute.budget)
    }

    /// The logits of the slice, whose first token has the number 0.
    private struct Source: LogitSource {
        let operand: Operand
        let slice: Matrix
        let compute: Compute

        var vocabSize: Int { slice.outputs }

        func logits(
            _ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int
        ) {
            compute.tile(operand.rows(rows), slice, vocabulary, out - vocabulary.lowerBound, stride: stride)
        }
    }

    /// Finds the peaks, of which the order has `byteCount` bytes, and answers.
    package func run(_ base: UnsafeMutableRawPointer, byteCount: Int, _ traffic: Traffic) throws(LLaDAError) {
        let hidden = slice.inputs
        guard
            let order = HeadOrder(
                base, byteCount: byteCount, floatBytes: hidden * MemoryLayout<Float>.size,
                preparedBytes: compute.stride(for: slice))
        else { throw LLaDAError(.cluster, "rank 0 sent states of \(byteCount) bytes that are none of this model") }
        let (rows, states) = (order.rows, base + HeadOrder.headBytes)
        let x =
            order.isPrepared
            ? Operand(base: UnsafeRawPointer(states), stride: order.rowBytes, rows: rows)
            : try compute.operand(
                UnsafePointer(states.assumingMemoryBound(to: Float.self)), stride: hidden, rows: rows, for: slice,
                &operand, room: rows)
        let tiles = placement.tiles(of: rank)
        let found = try peaks.reserve(tiles.count * rows)
        let kernels = compute.kernels
        try Source(operand: x, slice: slice, compute: compute).forEachTile(
            rows: rows, compute.team, &logits
        ) { tile, row, _, logits, _ in
            found[tile * rows + row] = Peak(
                logits, placement.vocabulary(ofTile: tiles.lowerBound + tile), kernels)
        }
        try traffic.send(
            UnsafeRawBufferPointer(start: found, count: tiles.count * rows * MemoryLayout<Peak>.stride), to: 0,
            Subject.peaks)
        try traffic.finishAll()
    }
}
