import Kernels

/// The mixture of experts: the weighted sum of each row's chosen experts, and the shared expert
/// (spec: model.md, section 1).
struct Experts {
    let config: ModelConfig
    let compute: Compute

    /// Computes out = sum of weight * expert(x) + shared(x).  x, out: [rows, hidden]
    func callAsFunction(
        _ x: UnsafePointer<Float>, layer: Int, _ weights: MixtureWeights, _ batch: Batch, _ work: Workspace,
        out: UnsafeMutablePointer<Float>, observer: Observer?
    ) throws(LLaDAError) {
        let rows = batch.rows.count
        let hidden = config.hiddenSize
        let scores = try work.router.reserve(work.mostRows * config.numExperts)  // [rows, experts]
        let exact = try compute.operand(x, stride: hidden, rows: rows, for: weights.router, work)
        compute.product(exact, weights.router, scores, stride: config.numExperts)
        let routing = try Router(config: config, compute: compute).route(
            scores, weights.expertBias, batch, layer: layer, work)
        observer?.routing?(layer, batch.rows, routing)
        observer?.finished?(.router)

        try work.plan.make(routing, experts: config.numExperts, room: work.mostRows * routing.k)
        let plan = work.plan
        let operand = try compute.operand(x, stride: hidden, rows: rows, for: weights.experts[0].gate, work)
        // [rows * k, hidden], by expert
        let results = try work.expertResults.reserve(work.mostRows * routing.k * hidden)
        try run(operand, weights, plan, work, results)

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
            try work.checkStop(0.7)
            let y = try work.shared.reserve(work.mostRows * hidden)  // [rows, hidden]
            let feedForward = DenseFeedForward(compute: compute)
            if shared.gate.activations == weights.experts[0].gate.activations {
                try feedForward(operand, shared, work, out: y)
            } else {
                try feedForward(x, rows: rows, shared, work, out: y)
            }
            compute.team.forEach(rows) { row, _ in kernels.axpy(1, y + row * hidden, hidden, out + row * hidden) }
            observer?.finished?(.shared)
        }
    }

    /// The number of rows of an expert that pass together: their activations stay in the cache from gate to down.
    static let piece = 64

    /// The order of the (row, slot) pairs, sorted by expert. It keeps its memory from layer to layer.
    struct Plan {
        fileprivate private(set) var place: [Int] = []  // [rows * k]
        fileprivate private(set) var rows: [Int] = []  // [rows * k]: the row of each place
        /// The work of an expert, in pieces; the largest last.
        fileprivate private(set) var tasks: [(expert: Int, places: Range<Int>)] = []
        private var next: [Int] = []  // [experts]

        /// Becomes the order for a routing of at most `room` pairs.
        mutating func make(_ routing: Routing, experts: Int, room: Int) throws(LLaDAError) {
            let pairs = routing.experts.count
            try next.refill(experts, with: 0, room: experts)
            try place.refill(pairs, with: 0, room: room)
            try rows.refill(pairs, with: 0, room: room)
            tasks.removeAll(keepingCapacity: true)
            try tasks.reserve(room)
            for expert in routing.experts { next[Int(expert)] += 1 }
            var start = 0
            for expert in 0..<experts {
                let end = start + next[expert]
                for first in stride(from: start, to: end, by: Experts.piece) {
                    tasks.append((expert, first..<min(first + Experts.piece, end)))
                }
                next[expert] = start
                start = end
            }
            for (slot, expert) in routing.experts.enumerated() {
                place[slot] = next[Int(expert)]
                rows[place[slot]] = slot / routing.k
                next[Int(expert)] += 1
            }
            // The team takes the last task first. So the largest task begins first, and a small one ends last.
            tasks.withUnsafeMutableBufferPointer { $0.sortInPlace { $0.places.count < $1.places.count } }
        }
    }

    /// Runs each active expert over its rows.  results: [rows * k, hidden], by place
    private func run(
        _ x: Operand, _ weights: MixtureWeights, _ plan: Plan, _ work: Workspace,
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
        let operations = plan.rows.count * 3 * hidden * width
        try work.forEach(plan.tasks.count, operations: operations, share: 0.4...0.7, compute.team) { index, worker in
            let (expert, places) = plan.tasks[index]
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
