import Kernels

/// A dense feed-forward: that of the first layers, or the shared expert.
struct DenseFeedForward {
    let compute: Compute

    /// Computes out = down(silu(gate x) * up x).  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, rows: Int, _ weights: FeedForwardWeights, _ work: Workspace,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let width = weights.gate.outputs
        let h = try work.gate.reserve(work.mostRows * width)  // [rows, intermediate]
        let up = try work.up.reserve(work.mostRows * width)  // [rows, intermediate]
        let operand = try compute.operand(x, stride: weights.gate.inputs, rows: rows, for: weights.gate, work)
        compute.gatedProduct(operand, weights, h, scratch: up)
        let inner = try compute.operand(h, stride: width, rows: rows, for: weights.down, work)
        compute.product(inner, weights.down, out, stride: weights.down.outputs)
    }
}
