import Kernels

/// The mixture of experts: each row's chosen experts, weighted, and the shared expert (spec: model.md, section 1).
struct Experts {
    let config: ModelConfig
    let compute: Compute

    /// out = sum of weight * expert(x) + shared(x);  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, _ weights: MixtureWeights, _ batch: Batch, _ work: inout Workspace,
        out: UnsafeMutablePointer<Float>, observe: ((Routing) -> Void)?
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let hidden = config.hiddenSize
        let scores = try work.router.reserve(rows * config.numExperts)  // [rows, experts]
        compute.product(x, stride: hidden, rows: rows, weights.router, scores, stride: config.numExperts)
        let routing = Router(config: config).route(scores, weights.expertBias, batch.rows)
        observe?(routing)

        let plan = Plan(routing, experts: config.numExperts)
        let gathered = try work.gathered.reserve(rows * routing.k * hidden)  // [rows * k, hidden], by expert
        let results = try work.expertResults.reserve(rows * routing.k * hidden)  // [rows * k, hidden], by expert
        try run(x, weights, plan, &work, gathered, results)

        let kernels = compute.kernels
        compute.team.forEach(rows) { row, _ in
            let y = out + row * hidden
            y.update(repeating: 0, count: hidden)
            for slot in row * routing.k..<(row + 1) * routing.k {
                kernels.axpy(routing.weights[slot], results + plan.place[slot] * hidden, hidden, y)
            }
        }
        if let shared = weights.shared {
            let y = try work.shared.reserve(rows * hidden)  // [rows, hidden]
            try FeedForward(compute: compute)(x, rows: rows, shared, &work, out: y)
            compute.team.forEach(rows) { row, _ in kernels.axpy(1, y + row * hidden, hidden, out + row * hidden) }
        }
    }

    /// Where each (row, slot) pair lies when pairs are sorted by expert.
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

    /// Each active expert over its rows, one task each.
    private func run(
        _ x: UnsafePointer<Float>, _ weights: MixtureWeights, _ plan: Plan, _ work: inout Workspace,
        _ gathered: UnsafeMutablePointer<Float>, _ results: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let hidden = config.hiddenSize
        let width = config.moeIntermediateSize
        let most = plan.active.reduce(0) { max($0, $1.places.count) }
        let gates = try work.expertGate.reserve(compute.team.size * most * width * 2)  // [threads, 2, most, width]
        let kernels = compute.kernels
        compute.team.forEach(plan.active.count) { index, worker in
            let (expert, places) = plan.active[index]
            let weights = weights.experts[expert]
            let count = places.count
            let gate = gates + worker * most * width * 2
            let up = gate + most * width
            let input = gathered + places.lowerBound * hidden
            for place in places {
                (gathered + place * hidden).update(from: x + plan.rows[place] * hidden, count: hidden)
            }
            kernels.matmul(input, hidden, count, weights.gate.base, weights.gate.type, hidden, 0, width, gate, width)
            kernels.matmul(input, hidden, count, weights.up.base, weights.up.type, hidden, 0, width, up, width)
            kernels.silu_mul(gate, up, count * width)
            kernels.matmul(
                gate, width, count, weights.down.base, weights.down.type, width, 0, hidden,
                results + places.lowerBound * hidden, hidden)
        }
    }
}

/// A dense feed-forward: that of the first layers, and the shared expert.
struct FeedForward {
    let compute: Compute

    /// out = down(silu(gate x) * up x);  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, rows: Int, _ weights: FeedForwardWeights, _ work: inout Workspace,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let width = weights.gate.outputs
        let h = try work.gate.reserve(rows * width)  // [rows, intermediate]
        let up = try work.up.reserve(rows * width)  // [rows, intermediate]
        compute.gatedProduct(x, rows: rows, weights, h, scratch: up)
        compute.product(h, stride: width, rows: rows, weights.down, out, stride: weights.down.outputs)
    }
}
