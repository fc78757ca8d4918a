/// A look inside the model, and a hand in it.
extension Decoder {
    /// Keeps, from the next forward on, what the experts' routers choose and what the layers give, for the positions
    /// that are denoised. Neither: nothing any more. Counts of experts begin at 0.
    public func watch(routing: Bool, hidden: Bool) throws(LLaDAError) {
        sequence.watch =
            routing || hidden
            ? ModelWatch(routing: routing, hidden: hidden, config) : nil
    }

    /// Of the last forward, for each of its positions, what a layer's router chose: experts, increasing, and their
    /// weights, both [positions, num_experts_per_tok].
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

    /// Of the last forward, for each of its positions, what a layer gave: [positions, hidden_size].
    public func hidden(layer: Int) throws(LLaDAError) -> [Float] {
        guard let hidden = try watched("hidden", \.keepsHidden).hidden(layer: layer) else {
            throw LLaDAError(
                .invalidArgument, "layer is \(layer); expected 0 to \(config.numHiddenLayers - 1)")
        }
        return hidden
    }

    /// How many positions each expert has had in the forwards since `watch`: [num_hidden_layers, num_experts].
    public func expertUsage() throws(LLaDAError) -> [UInt64] {
        guard let watch = sequence.watch, watch.keepsRouting else {
            throw Self.notWatched("expert_usage")
        }
        return watch.usage
    }

    /// Switches an expert of a layer off, or on again, for this decoder and those forked from it. Keys and values are
    /// computed anew. Not where they are shared through a prefix cache.
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
