import Kernels

/// Rank 0's part in the experts of a layer that are spread over a cluster: it gives rows away, computes its own experts
/// meanwhile, and collects the sums. The other part is `findPeaks`.
package final class ExpertExchange: @unchecked Sendable {  // used in the cluster's turns
    package let cluster: Cluster
    package let placement: ExpertPlacement
    /// Whether a rank takes rows as this machine's kernels prepare them.
    let takesPrepared: [Bool]  // [ranks]
    let config: ModelConfig
    var head: HeadSharing
    private var sums: ExpertSums
    private var message: Scratch<UInt8>
    private var counts: [Int]  // [ranks]: the rows of each
    private var numbers: Scratch<Int32>  // [rows]
    private var experts: Scratch<Int32>  // [rows, k]
    private var layersDone = 0

    package init(
        _ cluster: Cluster, _ placement: ExpertPlacement, _ head: HeadPlacement, takesPrepared: [Bool],
        _ config: ModelConfig, in budget: MemoryBudget?
    ) throws(LLaDAError) {
        self.cluster = cluster
        self.placement = placement
        self.takesPrepared = takesPrepared
        self.config = config
        sums = try ExpertSums(placement, rank: 0, hidden: config.hiddenSize, in: budget)
        message = Scratch(in: budget)
        numbers = Scratch(in: budget)
        experts = Scratch(in: budget)
        self.head = HeadSharing(head, in: budget)
        counts = Array(repeating: 0, count: placement.size)
    }

    deinit { cluster.release() }

    /// The experts of a layer that this rank has.
    func own(_ layer: Int) -> Range<Int> { placement.experts(of: 0, layer: layer) }

    /// Computes the sums of a layer. `compute` computes the outputs of this rank's experts, and polls the traffic
    /// between pieces of work; `add` adds those of a row to its sum; `meanwhile` is work for the time of waiting. None
    /// of them throws: whatever can fail has been done before. x: f32 [rows, hidden]; prepared: [rows] for packed
    /// weights; out: [rows, hidden]
    func run(
        layer: Int, _ x: UnsafePointer<Float>, prepared: Operand, _ routing: Routing, room: Int, _ team: ThreadTeam,
        out: UnsafeMutablePointer<Float>, compute: (Traffic) -> Void,
        add: (_ row: Int, _ sum: UnsafeMutablePointer<Float>) -> Void, meanwhile: () -> Void
    ) throws(LLaDAError) {
        let k = routing.k
        let rows = routing.experts.count / k
        let chunk = ExpertSums.chunk(rows: rows, hidden: config.hiddenSize)
        try cluster.withTurn { (traffic) throws(LLaDAError) in
            let chosen = try experts.reserve(max(room, rows) * k)
            let all = try numbers.reserve(max(room, rows))
            for (slot, expert) in routing.experts.enumerated() { chosen[slot] = expert }
            for row in 0..<rows { all[row] = Int32(row) }
            let numbers = UnsafeBufferPointer(start: all, count: rows)
            try traffic.checkOthers()
            layersDone += 1
            let subject = Subject.sums(layersDone)
            try sums.plan(numbers, chosen, layer: layer, k: k, chunk: chunk, room: room)
            try traffic.reserve(placement.size + sums.messages)
            try sums.receive(traffic, subject)
            try give(layer: layer, x, prepared, routing, chunk: chunk, room: room, traffic)
            traffic.push()
            compute(traffic)
            try sums.pass(numbers, chunk: chunk, traffic, subject, team, sums: out, add: add)
            meanwhile()
            try sums.collect(traffic, into: out)
            try traffic.finishAll()
        }
    }

    /// Sends each rank the rows that have an expert there.
    private func give(
        layer: Int, _ x: UnsafePointer<Float>, _ prepared: Operand, _ routing: Routing, chunk: Int, room: Int,
        _ traffic: Traffic
    ) throws(LLaDAError) {
        let k = routing.k
        let rows = routing.experts.count / k
        let floatBytes = config.hiddenSize * MemoryLayout<Float>.size
        func has(_ row: Int, _ rank: Int) -> Bool {
            for slot in row * k..<(row + 1) * k
            where placement.rank(of: Int(routing.experts[slot]), layer: layer) == rank {
                return true
            }
            return false
        }
        func layout(_ rank: Int, rows: Int) -> LayerOrder.Layout {
            LayerOrder.Layout(rows: rows, k: k, rowBytes: takesPrepared[rank] ? prepared.stride : floatBytes)
        }
        var total = 0
        for rank in 1..<placement.size {
            counts[rank] = (0..<rows).count { has($0, rank) }
            total += (layout(rank, rows: counts[rank]).byteCount + 63) / 64 * 64
        }
        // Rows have room in the message of every rank that a row may go to.
        let most = min(placement.size - 1, k)
        let head = LayerOrder.headWords * 8 + 128
        let expected = max(room, rows) * most * (4 + 8 * k + max(floatBytes, prepared.stride)) + placement.size * head
        let base = UnsafeMutableRawPointer(try message.reserve(max(total, expected)))
        var start = base
        for rank in 1..<placement.size where counts[rank] > 0 {
            var order = LayerOrder()
            order.layer = layer
            order.rows = counts[rank]
            order.chunk = chunk
            order.number = layersDone
            order.isPrepared = takesPrepared[rank]
            order.rowBytes = order.isPrepared ? prepared.stride : floatBytes
            let layout = layout(rank, rows: counts[rank])
            guard layout.byteCount <= LayerOrder.mostBytes else {
                throw LLaDAError(.cluster, "\(order.rows) rows at once are more than a message of a cluster may have")
            }
            order.write(to: start)
            var place = 0
            for row in 0..<rows where has(row, rank) {
                start.storeBytes(of: Int32(row), toByteOffset: layout.numbers + place * 4, as: Int32.self)
                for slot in 0..<k {
                    let offset = (place * k + slot) * 4
                    start.storeBytes(
                        of: routing.experts[row * k + slot], toByteOffset: layout.experts + offset, as: Int32.self)
                    start.storeBytes(
                        of: routing.weights[row * k + slot], toByteOffset: layout.weights + offset, as: Float.self)
                }
                let from =
                    order.isPrepared
                    ? prepared.base + row * prepared.stride : UnsafeRawPointer(x + row * config.hiddenSize)
                (start + layout.rows + place * order.rowBytes).copyMemory(from: from, byteCount: order.rowBytes)
                place += 1
            }
            try traffic.send(UnsafeRawBufferPointer(start: start, count: layout.byteCount), to: rank, Subject.order)
            start += (layout.byteCount + 63) / 64 * 64
        }
    }
}
