/// Which rank of a cluster holds which routed experts: of each layer, ranks have consecutive experts, by rank. So the
/// outputs of a row's experts, which are summed by increasing expert, are summed rank by rank.
package struct ExpertPlacement: Sendable {
    package let size: Int
    private let layers: Int
    /// The first expert of each rank, and the number of experts.
    package let starts: [Int]  // [size + 1]
    private let ranks: [Int32]  // [experts]

    /// Places experts in shares, by rank; equal ones if there are none. Every rank gets an expert at least. Throws
    /// `.invalidArgument` if there are fewer experts than ranks.
    package init(_ config: ModelConfig, size: Int, shares: [Double] = []) throws(LLaDAError) {
        guard config.numExperts >= size else {
            throw LLaDAError(
                .invalidArgument,
                "the cluster has \(size) ranks; expected at most \(config.numExperts), the experts of a layer")
        }
        let shares = shares.isEmpty ? [Double](repeating: 1, count: size) : shares
        var total = 0.0
        for share in shares { total += share }
        var starts = [0]
        var sum = 0.0
        for rank in 1..<max(size, 1) {
            sum += shares[rank - 1] / total
            // All have one; the others go by shares.
            starts.append(rank + Int((Double(config.numExperts - size) * min(sum, 1)).rounded()))
        }
        starts.append(config.numExperts)
        self.init(starts: starts, config)
    }

    /// Makes the placement with these first experts; nil if they are none.
    package init?(checking starts: [Int], _ config: ModelConfig) {
        guard starts.count > 1, starts[0] == 0, starts[starts.count - 1] == config.numExperts else { return nil }
        for rank in 1..<starts.count where starts[rank] <= starts[rank - 1] { return nil }
        self.init(starts: starts, config)
    }

    private init(starts: [Int], _ config: ModelConfig) {
        self.starts = starts
        size = starts.count - 1
        layers = config.numHiddenLayers
        var ranks: [Int32] = []
        for rank in 0..<size {
            for _ in starts[rank]..<starts[rank + 1] { ranks.append(Int32(rank)) }
        }
        self.ranks = ranks
    }

    package func rank(of expert: Int) -> Int { Int(ranks[expert]) }
    package func experts(of rank: Int) -> Range<Int> { starts[rank]..<starts[rank + 1] }

    /// What a rank holds of the weights.
    package func share(of rank: Int) -> WeightShare {
        WeightShare(hasCommon: rank == 0, experts: Array(repeating: experts(of: rank), count: layers))
    }
}
