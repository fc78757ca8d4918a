import Kernels

/// The mixture of experts: the weighted sum of each row's chosen experts, and the shared expert
/// (spec: model.md, section 1).
struct Experts {
    let config: ModelConfig
    let compute: Compute
    /// Who computes the experts of other ranks of a cluster; nil if all are here.
    let exchange: ExpertExchange?

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

        try routing.experts.withUnsafeBufferPointer { (experts) throws(LLaDAError) in
            try work.plan.make(
                experts, k: routing.k, exchange?.own(layer) ?? 0..<config.numExperts, room: work.mostRows * routing.k)
        }
        let plan = work.plan
        if weights.readsAhead {
            // The largest first, as they will be run. Meanwhile the shared expert is computed.
            compute.team.forEach(plan.tasks.count) { index, _ in
                weights.experts[plan.tasks[index].expert].readAhead()
            }
        }
        // Experts are read ahead while the shared one is computed; else it takes their operand.
        let isSharedFirst = weights.readsAhead && exchange == nil
        var common = try isSharedFirst ? shared(x, nil, rows: rows, weights, work, share: 0.4...0.5) : nil
        if isSharedFirst { observer?.finished?(.shared) }
        let operand = try compute.operand(x, stride: hidden, rows: rows, for: weights.experts[0].gate, work)
        // [rows * k, hidden], by expert
        let results = try work.expertResults.reserve(work.mostRows * routing.k * hidden)
        if let exchange {
            try run(exchange, x, operand, layer: layer, routing, weights, plan, work, results, out: out)
            observer?.finished?(.experts)
            return
        }
        try run(operand, weights, plan, work, results, during: nil)
        if !isSharedFirst {
            observer?.finished?(.experts)
            common = try shared(x, operand, rows: rows, weights, work, share: 0.95...1)
        }
        let (kernels, addend) = (compute.kernels, common)
        compute.team.forEach(rows) { row, _ in
            let y = out + row * hidden
            y.update(repeating: 0, count: hidden)
            for slot in row * routing.k..<(row + 1) * routing.k {
                kernels.axpy(routing.weights[slot], results + plan.place[slot] * hidden, hidden, y)
            }
            if let addend { kernels.axpy(1, addend + row * hidden, hidden, y) }
        }
        observer?.finished?(isSharedFirst || common == nil ? .experts : .shared)
    }

    /// Computes the shared expert, which is the part `share` of the layer; nil without one. `operand` is x in the form
    /// that the other experts take.  x, result: [rows, hidden]
    private func shared(
        _ x: UnsafePointer<Float>, _ operand: Operand?, rows: Int, _ weights: MixtureWeights, _ work: Workspace,
        share: ClosedRange<Double>
    ) throws(LLaDAError) -> UnsafePointer<Float>? {
        guard let shared = weights.shared else { return nil }
        let y = try work.shared.reserve(work.mostRows * config.hiddenSize)
        let feedForward = DenseFeedForward(compute: compute)
        if let operand, shared.gate.activations == weights.experts[0].gate.activations {
            try feedForward(operand, shared, work, share: share, out: y)
        } else {
            try feedForward(x, rows: rows, shared, work, share: share, out: y)
        }
        return UnsafePointer(y)
    }

    /// Does the same with a cluster. Nothing stops it on the way, as other ranks have been given their rows.
    private func run(
        _ exchange: ExpertExchange, _ x: UnsafePointer<Float>, _ operand: Operand, layer: Int, _ routing: Routing,
        _ weights: MixtureWeights, _ plan: Plan, _ work: Workspace, _ results: UnsafeMutablePointer<Float>,
        out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let rows = routing.experts.count / routing.k
        let hidden = config.hiddenSize
        let kernels = compute.kernels
        var common: UnsafePointer<Float>?
        var failure: LLaDAError?
        func note(_ part: () throws(LLaDAError) -> Void) {
            do throws(LLaDAError) { try part() } catch { failure = failure ?? error }
        }
        work.isStoppable = false
        defer { work.isStoppable = true }
        let own = exchange.own(layer)
        try exchange.run(
            layer: layer, x, prepared: operand, routing, room: work.mostRows, compute.team, out: out
        ) { traffic in
            note { () throws(LLaDAError) in try run(operand, weights, plan, work, results, during: traffic) }
        } add: { row, sum in
            for slot in row * routing.k..<(row + 1) * routing.k where own.contains(Int(routing.experts[slot])) {
                kernels.axpy(routing.weights[slot], results + plan.place[slot] * hidden, hidden, sum)
            }
        } meanwhile: {
            note { () throws(LLaDAError) in
                common = try shared(x, nil, rows: rows, weights, work, share: 0.4...0.5)
            }
        }
        if let failure { throw failure }
        if let addend = common {
            compute.team.forEach(rows) { row, _ in kernels.axpy(1, addend + row * hidden, hidden, out + row * hidden) }
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

        func place(of slot: Int) -> Int { place[slot] }

        /// Becomes the order for the experts of rows, of those in `own`; there will be at most `room` pairs.
        /// experts: [rows, k]
        mutating func make(
            _ experts: UnsafeBufferPointer<Int32>, k: Int, _ own: Range<Int>, room: Int
        ) throws(LLaDAError) {
            let pairs = experts.count
            try next.refill(own.upperBound, with: 0, room: own.upperBound)
            try place.refill(pairs, with: 0, room: room)
            try rows.refill(pairs, with: 0, room: room)
            tasks.removeAll(keepingCapacity: true)
            try tasks.reserve(room)
            for expert in experts where own.contains(Int(expert)) { next[Int(expert)] += 1 }
            var start = 0
            for expert in own {
                let end = start + next[expert]
                for first in stride(from: start, to: end, by: Experts.piece) {
                    tasks.append((expert, first..<min(first + Experts.piece, end)))
                }
                next[expert] = start
                start = end
            }
            for (slot, expert) in experts.enumerated() where own.contains(Int(expert)) {
                place[slot] = next[Int(expert)]
                rows[place[slot]] = slot / k
                next[Int(expert)] += 1
            }
            // The team takes the last task first. So the largest task begins first, and a small one ends last.
            tasks.withUnsafeMutableBufferPointer { $0.sortInPlace { $0.places.count < $1.places.count } }
        }
    }

    /// Runs each active expert over its rows, and lets messages go on between pieces of work of the calling thread.
    /// results: [rows * k, hidden], by place
    func run(
        _ x: Operand, _ weights: MixtureWeights, _ plan: Plan, _ work: Workspace,
        _ results: UnsafeMutablePointer<Float>, during traffic: Traffic?
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
        try work.forEach(plan.tasks.count, operations: operations, share: 0.5...0.95, compute.team) { index, worker in
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
            if worker == 0 { traffic?.poll() }
        }
    }
}
