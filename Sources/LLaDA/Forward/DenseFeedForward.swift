import Kernels

/// A dense feed-forward: that of the first layers, or the shared expert.
struct DenseFeedForward {
    let compute: Compute

    /// Computes out = down(silu(gate x) * up x), which is the part `share` of the layer.  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, rows: Int, _ weights: FeedForwardWeights, _ work: Workspace,
        share: ClosedRange<Double>, out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let operand = try compute.operand(x, stride: weights.gate.inputs, rows: rows, for: weights.gate, work)
        try callAsFunction(operand, weights, work, share: share, out: out)
    }

    /// The same for x in the form that the weights take.  x: [rows, hidden]
    func callAsFunction(
        _ x: Operand, _ weights: FeedForwardWeights, _ work: Workspace, share: ClosedRange<Double>,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let rows = x.rows
        let width = weights.gate.outputs
        let h = try work.gate.reserve(work.mostRows * width)  // [rows, intermediate]
        let up = try work.up.reserve(work.mostRows * width)  // [rows, intermediate]
        compute.product(x, weights.gate, h, stride: width)
        let third = (share.upperBound - share.lowerBound) / 3
        try work.checkStop(share.lowerBound + third)
        compute.product(x, weights.up, up, stride: width)
        compute.team.forEach(rows) { row, _ in compute.kernels.silu_mul(h + row * width, up + row * width, width) }
        try work.checkStop(share.upperBound - third)
        let inner = try compute.operand(h, stride: width, rows: rows, for: weights.down, work)
        compute.product(inner, weights.down, out, stride: weights.down.outputs)
    }
}
