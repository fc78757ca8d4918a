import Kernels

/// The experts of each row, and their weights.
package struct Routing: Equatable, Sendable {
    /// [rows, k], increasing within a row: the order in which expert outputs are summed.
    package var experts: [Int32] = []
    package var weights: [Float] = []  // [rows, k]
    package var k = 0
}

/// The sigmoid router with selection bias: group-limited top-k (2.0, 2.1), or one pool for each block (2.2)
/// (spec: model.md, sections 1 and 1.1). Ties go to the lower id.
struct Router {
    let config: ModelConfig
    let compute: Compute

    /// Routes the rows of a batch.  logits: [rows, experts], the products of the gate; they become scores
    func route(
        _ logits: UnsafeMutablePointer<Float>, _ bias: Vector?, _ batch: Batch, layer: Int, _ work: Workspace
    ) throws(LLaDAError) -> Routing {
        let rows = batch.rows
        let experts = config.numExperts
        let k = config.numExpertsPerTok
        let slots = rows.count * k
        var routing = Routing()
        swap(&routing, &work.routing)  // nothing else refers to its arrays, so they keep their memory
        routing.k = k
        try routing.experts.refill(slots, with: 0, room: work.mostRows * k)
        try routing.weights.refill(slots, with: 0, room: work.mostRows * k)
        let (team, kernels) = (compute.team, compute.kernels)
        team.forEach(rows.count) { row, _ in kernels.sigmoid(logits + row * experts, experts) }
        let pools = config.expertCapacity > 0 ? try pools(logits, bias, batch, layer, work) : nil
        let ranks = max(k, config.topkGroup)
        let allChoices = try work.choices.reserve(team.size * (experts + config.nGroup))
        let allRanks = try work.ranks.reserve(team.size * ranks)
        routing.experts.withUnsafeMutableBufferPointer { chosen in
            routing.weights.withUnsafeMutableBufferPointer { weights in
                // Each row writes only its own places.
                nonisolated(unsafe) let (chosen, weights) = (chosen, weights)
                team.forEach(rows.count) { row, worker in
                    let slots = row * k..<(row + 1) * k
                    choose(
                        logits + row * experts, bias, pools.map { $0 + row * experts },
                        batch.disabledExperts(rows[row], layer: layer),
                        UnsafeMutableBufferPointer(rebasing: chosen[slots]),
                        UnsafeMutableBufferPointer(rebasing: weights[slots]),
                        allChoices + worker * (experts + config.nGroup), allRanks + worker * ranks)
                }
            }
        }
        work.routing = routing
        return routing
    }

    /// Chooses the experts of one row.  scores: [experts];  pool: [experts], who may be chosen;  chosen, weights: [k];
    /// choice: [experts + groups], and ranks: [k or topkGroup], free memory
    private func choose(
        _ scores: UnsafePointer<Float>, _ bias: Vector?, _ pool: UnsafePointer<Bool>?, _ disabled: [Bool]?,
        _ chosen: UnsafeMutableBufferPointer<Int32>, _ weights: UnsafeMutableBufferPointer<Float>,
        _ choice: UnsafeMutablePointer<Float>, _ ranks: UnsafeMutablePointer<Int32>
    ) {
        let experts = config.numExperts
        for expert in 0..<experts { choice[expert] = scores[expert] + (bias?.base[expert] ?? 0) }
        if let disabled {
            for expert in 0..<experts where disabled[expert] { choice[expert] = -.infinity }
        }
        if let pool {
            for expert in 0..<experts where !pool[expert] { choice[expert] = -.infinity }
        } else if config.nGroup > 1 {
            dropGroups(choice, sums: choice + experts, ranks)
        }
        let count = Self.largest(chosen.count, of: UnsafeBufferPointer(start: choice, count: experts), into: ranks)
        let best = UnsafeMutableBufferPointer(start: ranks, count: count)
        best.sortInPlace(by: <)
        var sum: Float = 0
        for expert in best { sum += scores[Int(expert)] }
        // A single expert is not normalized.
        let divisor = count > 1 ? sum + 1e-20 : 1
        for (slot, expert) in best.enumerated() {
            chosen[slot] = expert
            weights[slot] = scores[Int(expert)] / divisor * Float(config.routedScalingFactor)
        }
    }

    /// Keeps the `topkGroup` groups whose two best scores have the largest sums, and excludes all other experts.
    /// choice: [experts];  sums: [groups], and ranks: [topkGroup], free memory
    private func dropGroups(
        _ choice: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Float>, _ ranks: UnsafeMutablePointer<Int32>
    ) {
        let size = config.numExperts / config.nGroup
        for group in 0..<config.nGroup {
            var first = -Float.infinity
            var second = -Float.infinity
            for expert in group * size..<(group + 1) * size {
                let value = choice[expert]
                if value > first {
                    second = first
                    first = value
                } else if value > second {
                    second = value
                }
            }
            sums[group] = first + second
        }
        let groups = UnsafeBufferPointer(start: sums, count: config.nGroup)
        let kept = UnsafeBufferPointer(start: ranks, count: Self.largest(config.topkGroup, of: groups, into: ranks))
        for group in 0..<config.nGroup where !kept.contains(Int32(group)) {
            for expert in group * size..<(group + 1) * size { choice[expert] = -.infinity }
        }
    }

    /// Returns the pool of each row (2.2). The rows of one sequence in one aligned block of `blockSize` positions share
    /// a pool of `expertCapacity` experts: those with the highest score in any row of the block.  [rows, experts]
    private func pools(
        _ allScores: UnsafePointer<Float>, _ bias: Vector?, _ batch: Batch, _ layer: Int, _ work: Workspace
    ) throws(LLaDAError) -> UnsafePointer<Bool> {
        let experts = config.numExperts
        let rows = batch.rows
        let pools = try work.pools.reserve(work.mostRows * experts)
        let best = try work.choices.reserve(experts)
        let ranks = try work.ranks.reserve(config.expertCapacity)
        var start = 0
        while start < rows.count {
            let block = rows[start].position / config.blockSize
            best.update(repeating: -.infinity, count: experts)
            var end = start
            while end < rows.count, rows[end].sequence == rows[start].sequence,
                rows[end].position / config.blockSize == block
            {
                let scores = allScores + end * experts
                let disabled = batch.disabledExperts(rows[end], layer: layer)
                for expert in 0..<experts where disabled?[expert] != true {
                    best[expert] = max(best[expert], scores[expert] + (bias?.base[expert] ?? 0))
                }
                end += 1
            }
            let pool = pools + start * experts
            pool.update(repeating: false, count: experts)
            let values = UnsafeBufferPointer(start: best, count: experts)
            let count = Self.largest(config.expertCapacity, of: values, into: ranks)
            for rank in 0..<count { pool[Int(ranks[rank])] = true }
            for row in start + 1..<max(end, start + 1) { (pools + row * experts).update(from: pool, count: experts) }
            start = end
        }
        return UnsafePointer(pools)
    }

    /// Finds the indices of the `count` largest values, best first, ties by lower index. NaN comes last. Returns their
    /// number.  largest: [count]
    static func largest(
        _ count: Int, of values: UnsafeBufferPointer<Float>, into largest: UnsafeMutablePointer<Int32>
    ) -> Int {
        func isBetter(_ value: Float, than place: Int) -> Bool {
            let other = values[Int(largest[place])]
            return value > other || (other.isNaN && !value.isNaN)
        }
        var found = 0
        for (index, value) in values.enumerated() {
            if found == count {
                if count == 0 || !isBetter(value, than: count - 1) { continue }
                found -= 1
            }
            var place = found
            while place > 0, isBetter(value, than: place - 1) {
                largest[place] = largest[place - 1]
                place -= 1
            }
            largest[place] = Int32(index)
            found += 1
        }
        return found
    }
}
