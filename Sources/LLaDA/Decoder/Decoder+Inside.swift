/// Access to the inside of the model: what its layers and routers did, and which experts it may use.
extension Decoder {
    /// Records the choices of the experts' routers, or the outputs of the layers, or both, for the denoised positions,
    /// from the next forward on. With neither, recording ends. The counts of experts begin at 0.
    public func watch(routing: Bool, hidden: Bool) throws(LLaDAError) {
        sequence.watch =
            routing || hidden
            ? try ModelWatch(routing: routing, hidden: hidden, config) : nil
    }

    /// Returns the choices of a layer's router for each position of the last forward: experts, increasing, and their
    /// weights, each [positions, num_experts_per_tok]. Throws `.state` without `watch` or a forward since, and
    /// `.invalidArgument` for a layer without experts.
    public func routing(layer: Int) throws(LLaDAError) -> (experts: [Int32], weights: [Float]) {
        guard let routing = try watched("routing", \.keepsRouting).routing(layer: layer) else {
            throw LLaDAError(
                .invalidArgument,
                """
                layer is \(layer); expected one with experts, \(config.firstKDenseReplace) to \
                \(config.numHiddenLayers - 1)
                """
            )
        }
        return (routing.experts, routing.weights)
    }

    /// Returns the output of a layer for each position of the last forward: [positions, hidden_size]. Throws `.state`
    /// without `watch` or a forward since, and `.invalidArgument` for a layer that does not exist.
    public func hidden(layer: Int) throws(LLaDAError) -> [Float] {
        guard let hidden = try watched("hidden", \.keepsHidden).hidden(layer: layer) else {
            throw LLaDAError(
                .invalidArgument, "layer is \(layer); expected 0 to \(config.numHiddenLayers - 1)")
        }
        return hidden
    }

    /// Returns how many positions each expert has had in the forwards since `watch`: [num_hidden_layers, num_experts].
    /// Throws `.state` without `watch`.
    public func expertUsage() throws(LLaDAError) -> [UInt64] {
        guard let watch = sequence.watch, watch.keepsRouting else {
            throw Self.notWatched("expert_usage")
        }
        return watch.usage
    }

    /// Switches an expert of a layer off or on, for this decoder and its later forks. Keys and values are computed
    /// again. Throws `.state` with a prefix cache, and `.invalidArgument` if a token might have too few experts.
    public func disableExpert(_ expert: Int, layer: Int, _ isDisabled: Bool = true) throws(LLaDAError) {
        try sequence.setExpert(layer: layer, expert: expert, isDisabled: isDisabled)
    }

    private var config: ModelConfig { sequence.denoiser.config }

    private func watched(_ call: String, _ kind: (ModelWatch) -> Bool) throws(LLaDAError) -> ModelWatch {
        guard let watch = sequence.watch, kind(watch) else { throw Self.notWatched(call) }
        guard !state.predictions.positions.isEmpty, watch.isFilled else {
            throw LLaDAError(.state, "\(call): there was no forward since watch was called")
        }
        return watch
    }

    private static func notWatched(_ call: String) -> LLaDAError {
        LLaDAError(.state, "\(call) needs watch to be called before the forward")
    }
}
