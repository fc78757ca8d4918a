import Kernels

extension Transformer {
    /// Works out what forwards take, with what this machine does now. Some milliseconds.
    func measureCost() -> ForwardCost {
        var cost = ForwardCost(machine: machine())
        cost.layers = weights.layers.count
        func add(_ matrices: [Matrix]) {
            for matrix in matrices {
                cost.sharedBytes += Double(matrix.bytes.count)
                cost.sharedOperations += 2 * Double(matrix.outputs) * Double(matrix.inputs)
            }
        }
        // Attention's own arithmetic runs at about half the speed of products.
        cost.scoreOperations = 2 * 4 * Double(config.numAttentionHeads * config.headDim * weights.layers.count)
        for layer in weights.layers {
            add([layer.attention.queryKeyValue, layer.attention.dense])
            switch layer.feedForward {
            case .dense(let dense): add([dense.gate, dense.up, dense.down])
            case .mixture(let mixture):
                add([mixture.router])
                if let shared = mixture.shared { add([shared.gate, shared.up, shared.down]) }
                cost.mixtures += 1
                cost.experts = config.expertCapacity > 0 ? config.expertCapacity : config.numExperts
                cost.expertsPerRow = config.numExpertsPerTok
                let expert = mixture.experts[0]
                let matrices = [expert.gate, expert.up, expert.down]
                cost.expertBytes = matrices.reduce(0) { $0 + Double($1.bytes.count) }
                cost.expertOperations = matrices.reduce(0) { $0 + 2 * Double($1.outputs) * Double($1.inputs) }
            }
        }
        return cost
    }

    /// Measures how fast the head is read, or 64 MB of it, and how fast a matrix in cache is multiplied.
    private func machine() -> ForwardCost.Machine {
        // A guess, if there is no memory to measure with: two cores of a server.
        var machine = ForwardCost.Machine(bandwidth: 40e9, arithmetic: 200e9)
        let team = compute.team
        let head = weights.head.bytes
        let lines = min(head.count, 64 << 20) / 64
        let pieces = 8 * team.size
        let (rows, outputs) = (32, min(weights.layers[0].attention.queryKeyValue.outputs, 512))
        let matrix = weights.layers[0].attention.queryKeyValue
        guard let sums = try? Buffer<UInt64>(count: pieces, in: compute.budget),
            let x = try? Buffer<Float>(count: rows * matrix.inputs, in: compute.budget),
            let prepared = try? Buffer<UInt8>(count: rows * compute.stride(for: matrix), in: compute.budget),
            let results = try? Buffer<Float>(count: team.size * rows * outputs, in: compute.budget)
        else { return machine }
        if lines >= pieces, let base = head.baseAddress {
            let words = base.assumingMemoryBound(to: UInt64.self)
            let piece = lines / pieces
            func read() {
                team.forEach(pieces) { index, _ in
                    var sum: UInt64 = 0
                    for line in index * piece..<(index + 1) * piece { sum &+= words[8 * line] }
                    sums.pointer[index] = sum
                }
            }
            read()  // brings a mapped file into memory
            machine.bandwidth = Double(pieces * piece * 64) / seconds(read)
        }
        x.pointer.initialize(repeating: 0, count: x.count)
        let operand = compute.operand(x.pointer, rows: rows, for: matrix, into: prepared.pointer)
        func multiply() {
            team.forEach(4 * team.size) { _, worker in
                compute.tile(
                    operand, matrix, 0..<outputs, results.pointer + worker * rows * outputs, stride: outputs)
            }
        }
        multiply()
        let operations = 2 * 4 * team.size * rows * outputs * matrix.inputs
        machine.arithmetic = Double(operations) / seconds(multiply)
        withExtendedLifetime((sums, x, prepared, results)) {}
        return machine
    }

    private func seconds(_ body: () -> Void) -> Double {
        let start = MonotonicClock.now
        body()
        return Double(max(MonotonicClock.now - start, 1)) / 1e9
    }
}
