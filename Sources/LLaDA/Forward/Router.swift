import Kernels

/// The experts of each row, and their weights.
package struct Routing: Equatable, Sendable {
    /// [rows, k], increasing within a row: the order in which expert outputs are summed.
    package var experts: [Int32]
    package var weights: [Float]  // [rows, k]
    package var k: Int
}

/// The sigmoid router with selection bias: group-limited top-k (2.0, 2.1), or one pool for each block (2.2)
/// (spec: model.md, sections 1 and 1.1). Ties go to the lower id.
struct Router {
    let config: ModelConfig
    let team: ThreadTeam

    /// Routes the rows of a batch.  logits: [rows, experts], the products of the gate; they become scores
    func route(
        _ logits: UnsafeMutablePointer<Float>, _ bias: Vector?, _ batch: Batch, layer: Int
    ) -> Routing {
        let rows = batch.rows
        let experts = config.numExperts
        let k = config.numExpertsPerTok
        var routing = Routing(
            experts: [Int32](repeating: 0, count: rows.count * k),
            weights: [Float](repeating: 0, count: rows.count * k), k: k)
        team.forEach(rows.count) { row, _ in
            for index in row * experts..<(row + 1) * experts { logits[index] = 1 / (1 + llk_expf(-logits[index])) }
        }
        let disabled = rows.map { batch.disabledExperts($0, layer: layer) }
        let pools = config.expertCapacity > 0 ? pools(logits, bias, rows, disabled) : []
        routing.experts.withUnsafeMutableBufferPointer { chosen in
            routing.weights.withUnsafeMutableBufferPointer { weights in
                // Each row writes only its own places.
                nonisolated(unsafe) let (chosen, weights) = (chosen, weights)
                team.forEach(rows.count) { row, _ in
                    let scores = logits + row * experts
                    let slots = row * k..<(row + 1) * k
                    choose(
                        scores, bias, pools.isEmpty ? nil : pools[row], disabled[row],
                        UnsafeMutableBufferPointer(rebasing: chosen[slots]),
                        UnsafeMutableBufferPointer(rebasing: weights[slots]))
                }
            }
        }
        return routing
    }

    /// Chooses the experts of one row.  scores: [experts];  chosen, weights: [k]
    private func choose(
        _ scores: UnsafePointer<Float>, _ bias: Vector?, _ pool: [Bool]?, _ disabled: [Bool]?,
        _ chosen: UnsafeMutableBufferPointer<Int32>, _ weights: UnsafeMutableBufferPointer<Float>
    ) {
        var choice = (0..<config.numExperts).map { scores[$0] + (bias?.base[$0] ?? 0) }
        if let disabled {
            for expert in choice.indices where disabled[expert] { choice[expert] = -.infinity }
        }
        if let pool {
            for expert in choice.indices where !pool[expert] { choice[expert] = -.infinity }
        } else if config.nGroup > 1 {
            dropGroups(&choice)
        }
        let best = Self.largest(chosen.count, of: choice).sorted()
        var sum: Float = 0
        for expert in best { sum += scores[expert] }
        // A single expert is not normalized.
        let divisor = best.count > 1 ? sum + 1e-20 : 1
        for (slot, expert) in best.enumerated() {
            chosen[slot] = Int32(expert)
            weights[slot] = scores[expert] / divisor * Float(config.routedScalingFactor)
        }
    }

    /// Keeps the `topkGroup` groups whose two best scores have the largest sums, and excludes all other experts.
    private func dropGroups(_ choice: inout [Float]) {
        let size = config.numExperts / config.nGroup
        let sums = (0..<config.nGroup).map { group in
            var first = -Float.infinity
            var second = -Float.infinity
            for value in choice[group * size..<(group + 1) * size] {
                if value > first {
                    second = first
                    first = value
                } else if value > second {
                    second = value
                }
            }
            return first + second
        }
        let kept = Self.largest(config.topkGroup, of: sums)
        for group in 0..<config.nGroup where !kept.contains(group) {
            for expert in group * size..<(group + 1) * size { choice[expert] = -.infinity }
        }
    }

    /// Returns the pool of each row (2.2). The rows of one sequence in one aligned block of `blockSize` positions share
    /// a pool of `expertCapacity` experts: those with the highest score in any row of the block.  [rows][experts]
    private func pools(
        _ allScores: UnsafePointer<Float>, _ bias: Vector?, _ rows: [Row], _ disabled: [[Bool]?]
    ) -> [[Bool]] {
        let experts = config.numExperts
        var pools: [[Bool]] = []
        var start = 0
        while start < rows.count {
            let block = rows[start].position / config.blockSize
            var best = [Float](repeating: -.infinity, count: experts)
            var end = start
            while end < rows.count, rows[end].sequence == rows[start].sequence,
                rows[end].position / config.blockSize == block
            {
                let scores = allScores + end * experts
                for expert in 0..<experts where disabled[end]?[expert] != true {
                    best[expert] = max(best[expert], scores[expert] + (bias?.base[expert] ?? 0))
                }
                end += 1
            }
            var pool = [Bool](repeating: false, count: experts)
            for expert in Self.largest(config.expertCapacity, of: best) { pool[expert] = true }
            pools.append(contentsOf: repeatElement(pool, count: end - start))
            start = end
        }
        return pools
    }

    /// Returns the indices of the `count` largest values, ties by lower index. NaN comes last.
    static func largest(_ count: Int, of values: [Float]) -> [Int] {
        var taken: [Int] = []
        taken.reserveCapacity(count + 1)
        for (index, value) in values.enumerated() {
            if taken.count == count, !(value > values[taken[count - 1]] || values[taken[count - 1]].isNaN) { continue }
            var place = taken.count
            while place > 0, value > values[taken[place - 1]] || (values[taken[place - 1]].isNaN && !value.isNaN) {
                place -= 1
            }
            taken.insert(index, at: place)
            if taken.count > count { taken.removeLast() }
        }
        return taken
    }
}
