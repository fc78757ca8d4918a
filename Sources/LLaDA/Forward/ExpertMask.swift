/// The experts that the router never chooses, for ablations.
package struct ExpertMask: Equatable, Sendable {
    private var disabled: [Int: [Bool]] = [:]  // by layer: [experts]

    package init() {}

    package var isEmpty: Bool { disabled.isEmpty }

    /// All disabled experts, by layer and expert.
    var all: [(layer: Int, expert: Int)] {
        disabled.sorted { $0.key < $1.key }.flatMap { layer, experts in
            experts.indices.filter { experts[$0] }.map { (layer, $0) }
        }
    }

    func disabled(in layer: Int) -> [Bool]? { disabled[layer] }

    /// Switches an expert of a mixture layer off or on. Throws `.invalidArgument` if a token might then have too few
    /// experts, whichever groups of experts it may choose from.
    mutating func set(layer: Int, expert: Int, _ isDisabled: Bool, _ config: ModelConfig) throws(LLaDAError) {
        guard config.firstKDenseReplace..<config.numHiddenLayers ~= layer else {
            throw LLaDAError(
                .invalidArgument,
                """
                layer is \(layer); expected one with experts, \(config.firstKDenseReplace) to \
                \(config.numHiddenLayers - 1)
                """
            )
        }
        guard 0..<config.numExperts ~= expert else {
            throw LLaDAError(.invalidArgument, "expert is \(expert); expected 0 to \(config.numExperts - 1)")
        }
        var experts = disabled[layer] ?? [Bool](repeating: false, count: config.numExperts)
        experts[expert] = isDisabled
        guard Self.leavesEnough(experts, config) else {
            throw LLaDAError(
                .invalidArgument,
                """
                without expert \(expert) of layer \(layer) a token might find fewer than \(config.numExpertsPerTok) \
                to choose from
                """
            )
        }
        disabled[layer] = experts.contains(true) ? experts : nil
    }

    private static func leavesEnough(_ disabled: [Bool], _ config: ModelConfig) -> Bool {
        let groups = config.expertCapacity > 0 ? 1 : max(config.nGroup, 1)
        let size = config.numExperts / groups
        let enabled = (0..<groups).map { group in disabled[group * size..<(group + 1) * size].count { !$0 } }
        let fewest = enabled.sorted().prefix(groups == 1 ? 1 : config.topkGroup).reduce(0, +)
        return fewest >= config.numExpertsPerTok
    }
}
