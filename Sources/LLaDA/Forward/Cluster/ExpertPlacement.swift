/// Which rank of a cluster holds which routed experts: of each layer, ranks have consecutive experts, by rank. So the
/// outputs of a row's experts, which are summed by increasing expert, are summed rank by rank.
package struct ExpertPlacement: Sendable {
    package let size: Int
    private let layers: Int
    private let experts: Int
    /// Of each layer, the first expert of each rank, and the number of experts.
    package let starts: [Int]  // [layers, size + 1]
    private let ranks: [Int32]  // [layers, experts]

    /// The rows of a step, by which usage is judged.
    private static let rowsOfStep = 32

    /// Places experts in shares, by rank; equal ones if there are none. With `usage`, [layers, experts], which says how
    /// many positions each expert has had, it is not the number of experts that is in shares, but how many of them a
    /// step is expected to read. Every rank gets an expert of each layer at least. Throws `.invalidArgument` if there
    /// are fewer experts than ranks, or if `usage` has another size.
    package init(
        _ config: ModelConfig, size: Int, shares: [Double] = [], usage: [UInt64] = []
    ) throws(LLaDAError) {
        let (layers, experts) = (config.numHiddenLayers, config.numExperts)
        guard experts >= size else {
            throw LLaDAError(
                .invalidArgument,
                "the cluster has \(size) ranks; expected at most \(experts), the experts of a layer")
        }
        guard usage.isEmpty || usage.count == layers * experts else {
            throw LLaDAError(
                .invalidArgument,
                """
                expert_usage has \(usage.count) counts; expected \(layers * experts), for \(experts) experts of \
                \(layers) layers
                """)
        }
        // What the ranks before each one are to have, of 1.
        var before = [0.0]
        var total = 0.0
        for rank in 0..<size { total += shares.isEmpty ? 1 : shares[rank] }
        for rank in 0..<size { before.append(before[rank] + (shares.isEmpty ? 1 : shares[rank]) / total) }
        var starts: [Int] = []
        for layer in 0..<layers {
            let costs = Self.costs(usage.dropFirst(layer * experts).prefix(experts), k: config.numExpertsPerTok)
            starts += costs.isEmpty ? Self.byNumber(before, experts) : Self.byCost(before, costs)
        }
        self.init(starts: starts, size: size, layers: layers, experts: experts)
    }

    /// Returns the first experts of the ranks, in shares of the number of experts.
    private static func byNumber(_ before: [Double], _ experts: Int) -> [Int] {
        let size = before.count - 1
        // All have one; the others go by shares.
        let middle = (1..<max(size, 1)).map { $0 + Int((Double(experts - size) * min(before[$0], 1)).rounded()) }
        return [0] + middle + [experts]
    }

    /// Returns the probability that a step reads each expert of a layer; empty if nothing is known.
    private static func costs(_ usage: ArraySlice<UInt64>, k: Int) -> [Double] {
        var total = 0.0
        for count in usage { total += Double(count) }
        if total == 0 { return [] }
        return usage.map { count in
            let without = max(0, 1 - Double(count) / total * Double(k))
            return 1 - (0..<rowsOfStep).reduce(1.0) { product, _ in product * without }
        }
    }

    /// Returns the first experts of the ranks, in shares of the sum of costs: each cut is where the sum before it is
    /// nearest to what it is to be.
    private static func byCost(_ before: [Double], _ costs: [Double]) -> [Int] {
        let (size, experts) = (before.count - 1, costs.count)
        let total = costs.reduce(0, +)
        var starts = [0]
        var (next, sum) = (0, 0.0)  // sum: of the costs before `next`
        for rank in 1..<max(size, 1) {
            let wanted = before[rank] * total
            let (least, most) = (starts[rank - 1] + 1, experts - (size - rank))
            while next < most, next < least || sum + costs[next] / 2 < wanted {
                sum += costs[next]
                next += 1
            }
            starts.append(next)
        }
        return starts + [experts]
    }

    /// Makes the placement with these first experts; nil if they are none.
    package init?(checking starts: [Int], size: Int, _ config: ModelConfig) {
        let (layers, experts) = (config.numHiddenLayers, config.numExperts)
        guard size > 0, starts.count == layers * (size + 1) else { return nil }
        for first in stride(from: 0, to: starts.count, by: size + 1) {
            guard starts[first] == 0, starts[first + size] == experts else { return nil }
            for rank in 1...size where starts[first + rank] <= starts[first + rank - 1] { return nil }
        }
        self.init(starts: starts, size: size, layers: layers, experts: experts)
    }

    private init(starts: [Int], size: Int, layers: Int, experts: Int) {
        self.starts = starts
        self.size = size
        self.layers = layers
        self.experts = experts
        var ranks: [Int32] = []
        for layer in 0..<layers {
            for rank in 0..<size {
                let place = layer * (size + 1) + rank
                ranks += repeatElement(Int32(rank), count: starts[place + 1] - starts[place])
            }
        }
        self.ranks = ranks
    }

    package func rank(of expert: Int, layer: Int) -> Int { Int(ranks[layer * experts + expert]) }

    package func experts(of rank: Int, layer: Int) -> Range<Int> {
        let place = layer * (size + 1) + rank
        return starts[place]..<starts[place + 1]
    }

    /// What a rank holds of the weights. Rank 0 has the whole head.
    package func share(of rank: Int, _ head: HeadPlacement) -> WeightShare {
        WeightShare(
            hasCommon: rank == 0, experts: (0..<layers).map { experts(of: rank, layer: $0) },
            head: rank == 0 ? 0..<0 : head.vocabulary(of: rank))
    }
}
