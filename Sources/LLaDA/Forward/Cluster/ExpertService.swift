import Kernels

/// The part of another rank than 0 in the experts of a layer: it computes its experts' outputs for the rows that it is
/// given, and adds them to the sums that pass.
package final class ExpertService {
    private let config: ModelConfig
    private let weights: Weights
    private let compute: Compute
    private let placement: ExpertPlacement
    private let rank: Int
    private let experts: Experts
    private let work: Workspace
    private var sums: ExpertSums
    private var unused: Scratch<Float>

    package init(
        _ config: ModelConfig, _ weights: Weights, _ compute: Compute, _ placement: ExpertPlacement, rank: Int
    ) throws(LLaDAError) {
        self.config = config
        self.weights = weights
        self.compute = compute
        self.placement = placement
        self.rank = rank
        experts = Experts(config: config, compute: compute, exchange: nil)
        work = try Workspace(in: compute.budget)
        sums = try ExpertSums(placement, rank: rank, hidden: config.hiddenSize, in: compute.budget)
        unused = Scratch(in: compute.budget)
    }

    /// Computes a layer, of which the order has `byteCount` bytes.
    package func run(
        _ base: UnsafeMutableRawPointer, byteCount: Int, _ traffic: Traffic
    ) throws(LLaDAError) {
        try weights.checkFiles()
        let hidden = config.hiddenSize
        let floatBytes = hidden * MemoryLayout<Float>.size
        let first = config.firstKDenseReplace
        guard first < weights.layers.count, case .mixture(let any) = weights.layers[first].feedForward,
            let order = LayerOrder(
                base, byteCount: byteCount, config, floatBytes: floatBytes,
                preparedBytes: compute.stride(for: any.experts[0].gate)),
            case .mixture(let mixture) = weights.layers[order.layer].feedForward,
            compute.stride(for: mixture.experts[0].gate) == compute.stride(for: any.experts[0].gate)
        else { throw LLaDAError(.cluster, "rank 0 sent a layer of \(byteCount) bytes that is none of this model") }
        let k = config.numExpertsPerTok
        let layout = LayerOrder.Layout(rows: order.rows, k: k, rowBytes: order.rowBytes)
        // The parts of the message are aligned to their types.
        let numbers = UnsafeBufferPointer(
            start: (base + layout.numbers).assumingMemoryBound(to: Int32.self), count: order.rows)
        let chosen = UnsafePointer((base + layout.experts).assumingMemoryBound(to: Int32.self))
        let factors = UnsafePointer((base + layout.weights).assumingMemoryBound(to: Float.self))
        let subject = Subject.sums(order.number)
        try sums.plan(numbers, chosen, layer: order.layer, k: k, chunk: order.chunk, room: order.rows)
        try sums.receive(traffic, subject)

        let own = placement.experts(of: rank, layer: order.layer)
        work.makeRoom(for: order.rows)
        let operand: Operand
        if order.isPrepared {
            operand = Operand(base: UnsafeRawPointer(base + layout.rows), stride: order.rowBytes, rows: order.rows)
        } else {
            operand = try compute.operand(
                UnsafePointer((base + layout.rows).assumingMemoryBound(to: Float.self)), stride: hidden,
                rows: order.rows, for: mixture.experts[0].gate, work)
        }
        try work.plan.make(
            UnsafeBufferPointer(start: chosen, count: order.rows * k), k: k, own, room: order.rows * k)
        let plan = work.plan
        let results = try work.expertResults.reserve(order.rows * k * hidden)
        try experts.run(operand, mixture, plan, work, results, during: traffic)
        let kernels = compute.kernels
        let nothing = try unused.reserve(1)
        try sums.pass(numbers, chunk: order.chunk, traffic, subject, compute.team, sums: nothing) { row, sum in
            for slot in row * k..<(row + 1) * k where own.contains(Int(chosen[slot])) {
                kernels.axpy(factors[slot], results + plan.place(of: slot) * hidden, hidden, sum)
            }
        }
        try traffic.finishAll()
    }
}
