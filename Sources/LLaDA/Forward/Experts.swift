import Kernels

/// The mixture of experts: the weighted sum of each row's chosen experts, and the shared expert
/// (spec: model.md, section 1).
struct Experts {
    let config: ModelConfig
    let compute: Compute

    /// Computes out = sum of weight * expert(x) + shared(x).  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, layer: Int, _ weights: MixtureWeights, _ batch: Batch, _ work: inout Workspace,
        out: UnsafeMutablePointer<Float>, observer: Observer?
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let hidden = config.hiddenSize
        let scores = try work.router.reserve(rows * config.numExperts)  // [rows, experts]
        let exact = try compute.operand(x, stride: hidden, rows: rows, for: weights.router, &work.operand)
        compute.product(exact, weights.router, scores, stride: config.numExperts)
        let routing = Router(config: config, team: compute.team).route(scores, weights.expertBias, batch, layer: layer)
        observer?.routing?(layer, batch.rows, routing)
        observer?.finished?(.router)

        let plan = Plan(routing, experts: config.numExperts)
        let operand = try compute.operand(
            x, stride: hidden, rows: rows, for: weights.experts[0].gate, &work.operand)
        let results = try work.expertResults.reserve(rows * routing.k * hidden)  // [rows * k, hidden], by expert
        try run(operand, weights, plan, &work, results)

        let kernels = compute.kernels
        compute.team.forEach(rows) { row, _ in
            let y = out + row * hidden
            y.update(repeating: 0, count: hidden)
            for slot in row * routing.k..<(row + 1) * routing.k {
                kernels.axpy(routing.weights[slot], results + plan.place[slot] * hidden, hidden, y)
            }
        }
        observer?.finished?(.experts)
        if let shared = weights.shared {
            let y = try work.shared.reserve(rows * hidden)  // [rows, hidden]
            try DenseFeedForward(compute: compute)(x, rows: rows, shared, &work, out: y)
            compute.team.forEach(rows) { row, _ in kernels.axpy(1, y + row * hidden, hidden, out + row * hidden) }
            observer?.finished?(.shared)
        }
    }

    /// The order of the (row, slot) pairs, sorted by expert.
    private struct Plan {
        var place: [Int]  // [rows * k]
        var rows: [Int]  // [rows * k]: the row of each place
        var active: [(expert: Int, places: Range<Int>)] = []

        init(_ routing: Routing, experts: Int) {
            var starts = [Int](repeating: 0, count: experts + 1)
            for expert in routing.experts { starts[Int(expert) + 1] += 1 }
            for expert in 0..<experts {
                starts[expert + 1] += starts[expert]
                if starts[expert + 1] > starts[expert] { active.append((expert, starts[expert]..<starts[expert + 1])) }
            }
            place = [Int](repeating: 0, count: routing.experts.count)
            rows = place
            var next = starts
            for (slot, expert) in routing.experts.enumerated() {
                place[slot] = next[Int(expert)]
                rows[place[slot]] = slot / routing.k
                next[Int(expert)] += 1
            }
        }
    }

    /// The number of rows of an expert that pass together: their activations stay in the cache from gate to down.
    private static let piece = 64

    /// Runs each active expert over its rows.  results: [rows * k, hidden], by place
    private func run(
        _ x: Operand, _ weights: MixtureWeights, _ plan: Plan, _ work: inout Workspace,
        _ results: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let hidden = config.hiddenSize
        let width = config.moeIntermediateSize
        let piece = Self.piece
        let down = weights.experts[0].down
        let downStride = compute.stride(for: down)
        let gates = try work.expertGate.reserve(compute.team.size * piece * width * 2)  // [threads, 2, piece, width]
        let operandBytes = piece * (x.stride + downStride)
        // [threads, piece] of both strides
        let operands = try work.expertOperands.reserve(compute.team.size * operandBytes)
        // The team takes the last task first. So the largest task begins first, and a small one ends last.
        let tasks = plan.active.flatMap { expert, places in
            stride(from: places.lowerBound, to: places.upperBound, by: piece).map {
                (expert: expert, places: $0..<min($0 + piece, places.upperBound))
            }
        }.sorted { $0.places.count < $1.places.count }
        compute.team.forEach(tasks.count) { index, worker in
            let (expert, places) = tasks[index]
            let weights = weights.experts[expert]
            let gate = gates + worker * piece * width * 2
            let up = gate + piece * width
            let input = operands + worker * operandBytes
            let gathered = x.gather(plan.rows[places], into: input)
            compute.tile(gathered, weights.gate, 0..<width, gate, stride: width)
            compute.tile(gathered, weights.up, 0..<width, up, stride: width)
            compute.kernels.silu_mul(gate, up, places.count * width)
            let h = compute.operand(gate, rows: places.count, for: weights.down, into: input + piece * x.stride)
            compute.tile(h, weights.down, 0..<hidden, results + places.lowerBound * hidden, stride: hidden)
        }
    }
}
