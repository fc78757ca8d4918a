/// The weights of `down(silu(gate x) * up x)`: a dense layer's feed-forward, one expert, or the shared expert.
package struct FeedForwardWeights: Sendable {
    package let gate: Matrix  // [intermediate, hidden]
    package let up: Matrix  // [intermediate, hidden]
    package let down: Matrix  // [hidden, intermediate]

    /// Whether the weights lie in a mapped file.
    var isMapped: Bool { gate.owner is FileMapping }

    /// Asks the system for what of them is not in memory, and does not wait for it.
    package func readAhead() {
        gate.readAhead()
        up.readAhead()
        down.readAhead()
    }
}

package struct AttentionWeights: Sendable {
    package let queryKeyValue: Matrix  // [(heads + 2 kvHeads) * headDim, hidden]: queries, keys, values, head by head
    package let queryNorm: Vector  // [headDim], shared by all heads
    package let keyNorm: Vector  // [headDim]
    package let dense: Matrix  // [hidden, heads * headDim]
}

package struct MixtureWeights: Sendable {
    package let router: Matrix  // [experts, hidden]
    package let expertBias: Vector?  // [experts], for selection only
    package let experts: [FeedForwardWeights]
    /// Whether experts that are chosen are to be read ahead: they may not be in memory.
    package let readsAhead: Bool
    package let shared: FeedForwardWeights?
}

package struct LayerWeights: Sendable {
    /// In a box: copies of an enum with payloads of two sizes would look at bytes that nothing has set.
    package indirect enum FeedForward: Sendable {
        case dense(FeedForwardWeights)
        case mixture(MixtureWeights)
    }

    package let inputNorm: Vector  // [hidden]
    package let attention: AttentionWeights
    package let postAttentionNorm: Vector  // [hidden]
    package let feedForward: FeedForward
}

/// All tensors of a checkpoint, by their roles (spec: model.md, section 2).
package struct Weights: Sendable {
    package let embedding: Table  // [vocab, hidden]
    package let layers: [LayerWeights]
    package let norm: Vector  // [hidden]
    package let head: Matrix  // [vocab, hidden]
    /// The rows of the head that the share has, where the head itself is another rank's.
    package let headSlice: Matrix?  // [share's head, hidden]
    /// The format of the matrices, or of most of them in a model that is held as a GGUF file has it; nil: as stored.
    package let dtype: NumberFormat?
    package let parameters: Int
    package let byteCount: Int
    /// All of the above, as tensors of a checkpoint.
    package let tensors: [HeldTensor]
    /// What reading takes, if nothing was read.
    package let sizes: Sizes

    /// The memory that weights take beside their files.
    package struct Sizes: Sendable {
        /// The bytes of what matrices take, in their order.
        private let matrices: [Int]
        private let otherBytes: Int
        /// The most bytes that are needed, and given back, while a matrix is read.
        package let scratchBytes: Int

        init(matrices: [Int], otherBytes: Int, scratchBytes: Int) {
            self.matrices = matrices
            self.otherBytes = otherBytes
            self.scratchBytes = scratchBytes
        }

        /// The stretches of memory in which matrices are to be held.
        fileprivate var plan: Arena.Plan {
            Arena.Plan(expected: matrices.reduce(0) { $0 + Arena.Plan.rounded($1) })
        }

        package var byteCount: Int {
            var plan = plan
            for bytes in matrices { _ = plan.take(bytes) }
            return plan.total + otherBytes
        }
    }

    /// The files that are mapped because weights are used where they lie in them.
    private let mappedFiles: [InputFile]

    /// Reads all tensors of `source`. `dtype` is the format of the matrices; nil keeps them as stored, in place where
    /// the kernels read them: with `mapping` in mapped files, with nil in those of this machine. `packed` is what a
    /// packed source says of itself; its format is `dtype`, and with `mapping` its routed experts are used in place.
    /// With `measuring`, all tensors are checked and counted but not read: only the counts may be used. `sizes` are
    /// those of such a reading before. `share` is what a rank of a cluster holds: all else is checked, and must not be
    /// used. Memory counts towards `budget`. `progress` receives the part done, from 0 to 1.
    ///
    /// Throws `.unsupported` for a tensor that has no place in the model, and `.io` if a file changes meanwhile.
    package init(
        _ source: any TensorSource, _ dtype: NumberFormat?, _ packed: PackedFile? = nil, team: ThreadTeam,
        mapping: Bool? = nil, share: WeightShare? = nil, sizes: Sizes? = nil, budget: MemoryBudget? = nil,
        measuring: Bool = false, progress: Progress? = nil
    ) throws(LLaDAError) {
        let config = source.config
        var reader = WeightReader(
            source, packed, team: team, mapping: mapping, share: share, plan: sizes?.plan ?? Arena.Plan(),
            budget: budget, measuring: measuring, progress: progress)
        embedding = try reader.table(Self.embeddingName, count: config.vocabSize, width: config.hiddenSize)
        var layers: [LayerWeights] = []
        for index in 0..<config.numHiddenLayers {
            layers.append(try Self.layer(index, config, dtype, &reader))
        }
        self.layers = layers
        norm = try reader.vector("model.norm.weight", count: config.hiddenSize)
        // A saved model has a packed head of its own.
        let isTied = config.tieWordEmbeddings && packed == nil
        let storedHead = isTied ? Self.embeddingName : Self.headName
        head = try reader.matrix(
            Self.headName, from: storedHead, outputs: config.vocabSize, inputs: config.hiddenSize,
            dtype?.ofAllTokens)
        if let rows = share?.head, !rows.isEmpty {
            headSlice = try reader.slice(
                rows, of: Self.headName, from: storedHead, outputs: config.vocabSize, inputs: config.hiddenSize,
                dtype?.ofAllTokens)
        } else {
            headSlice = nil
        }
        try Self.checkActivations(layers, source)
        self.dtype = dtype ?? reader.mainFormat
        parameters = reader.parameters - (config.tieWordEmbeddings ? config.vocabSize * config.hiddenSize : 0)
        byteCount = reader.bytes
        tensors = reader.held
        self.sizes = reader.sizes
        mappedFiles = reader.inPlace.mappedFiles
        // A tensor without a place would be a part of the model that is not computed.
        if let unknown = source.unusedTensor {
            throw LLaDAError(
                .unsupported,
                "\(source.directory): tensor \"\(unknown)\" has no place in a llada2_moe model of this config")
        }
        try source.checkUnchanged()
        try progress?(1)
    }

    /// Throws `.io` if a mapped file was cut: whoever reads on would be killed.
    func checkFiles() throws(LLaDAError) {
        for file in mappedFiles { try file.checkNotCut() }
    }

    private static let embeddingName = "model.word_embeddings.weight"
    package static let headName = "lm_head.weight"

    /// Throws `.unsupported` if matrices that share activations take different ones. A file can be so, but none is
    /// known.
    private static func checkActivations(
        _ layers: [LayerWeights], _ source: any TensorSource
    ) throws(LLaDAError) {
        func check(_ all: [FeedForwardWeights], _ layer: Int) throws(LLaDAError) {
            let first = all[0].gate.activations
            for one in all {
                if one.gate.activations != first || one.up.activations != first
                    || one.down.activations != all[0].down.activations
                {
                    throw LLaDAError(
                        .unsupported,
                        """
                        \(source.directory): the feed-forward of layer \(layer) mixes floats and integers; open the \
                        model as f32, bf16, int8 or int4
                        """)
                }
            }
        }
        for (index, layer) in layers.enumerated() {
            switch layer.feedForward {
            case .dense(let weights): try check([weights], index)
            case .mixture(let weights):
                try check(weights.experts, index)
                if let shared = weights.shared { try check([shared], index) }
            }
        }
    }

    private static func layer(
        _ index: Int, _ config: ModelConfig, _ dtype: NumberFormat?, _ reader: inout WeightReader
    ) throws(LLaDAError) -> LayerWeights {
        let prefix = "model.layers.\(index)"
        let hidden = config.hiddenSize
        let heads = config.numAttentionHeads
        let width = (heads + 2 * config.numKeyValueHeads) * config.headDim
        return LayerWeights(
            inputNorm: try reader.vector("\(prefix).input_layernorm.weight", count: hidden),
            attention: AttentionWeights(
                queryKeyValue: try reader.matrix(
                    "\(prefix).attention.query_key_value.weight", outputs: width, inputs: hidden, dtype?.ofAllTokens),
                queryNorm: try reader.vector("\(prefix).attention.query_layernorm.weight", count: config.headDim),
                keyNorm: try reader.vector("\(prefix).attention.key_layernorm.weight", count: config.headDim),
                dense: try reader.matrix(
                    "\(prefix).attention.dense.weight", outputs: hidden, inputs: heads * config.headDim,
                    dtype?.ofAllTokens)),
            postAttentionNorm: try reader.vector("\(prefix).post_attention_layernorm.weight", count: hidden),
            feedForward: index < config.firstKDenseReplace
                ? .dense(
                    try feedForward("\(prefix).mlp", config.intermediateSize, config, dtype?.ofAllTokens, &reader))
                : .mixture(try mixture("\(prefix).mlp", layer: index, config, dtype, &reader)))
    }

    private static func feedForward(
        _ prefix: String, _ intermediate: Int, _ config: ModelConfig, _ dtype: NumberFormat?,
        _ reader: inout WeightReader
    ) throws(LLaDAError) -> FeedForwardWeights {
        FeedForwardWeights(
            gate: try reader.matrix(
                "\(prefix).gate_proj.weight", outputs: intermediate, inputs: config.hiddenSize, dtype),
            up: try reader.matrix(
                "\(prefix).up_proj.weight", outputs: intermediate, inputs: config.hiddenSize, dtype),
            down: try reader.matrix(
                "\(prefix).down_proj.weight", outputs: config.hiddenSize, inputs: intermediate, dtype))
    }

    private static func mixture(
        _ prefix: String, layer: Int, _ config: ModelConfig, _ dtype: NumberFormat?, _ reader: inout WeightReader
    ) throws(LLaDAError) -> MixtureWeights {
        let intermediate = config.moeIntermediateSize
        var experts: [FeedForwardWeights] = []
        if reader.source.has("\(prefix).experts.gate_proj") {
            let count = config.numExperts
            reader.expert = ExpertID(layer: layer, index: 0)
            let gate = try reader.stack(
                "\(prefix).experts.gate_proj", count: count, outputs: intermediate, inputs: config.hiddenSize, dtype
            )
            let up = try reader.stack(
                "\(prefix).experts.up_proj", count: count, outputs: intermediate, inputs: config.hiddenSize, dtype)
            let down = try reader.stack(
                "\(prefix).experts.down_proj", count: count, outputs: config.hiddenSize, inputs: intermediate, dtype
            )
            for index in 0..<count {
                experts.append(FeedForwardWeights(gate: gate[index], up: up[index], down: down[index]))
            }
        } else {
            for index in 0..<config.numExperts {
                reader.expert = ExpertID(layer: layer, index: index)
                experts.append(try feedForward("\(prefix).experts.\(index)", intermediate, config, dtype, &reader))
            }
        }
        reader.expert = nil
        return MixtureWeights(
            router: try reader.router("\(prefix).gate.weight", outputs: config.numExperts, inputs: config.hiddenSize),
            expertBias: config.moeRouterEnableExpertBias
                ? try reader.vector("\(prefix).gate.expert_bias", count: config.numExperts) : nil,
            experts: experts, readsAhead: reader.readsAhead && experts.contains { $0.isMapped },
            shared: config.numSharedExperts > 0
                ? try feedForward(
                    "\(prefix).shared_experts", intermediate * config.numSharedExperts, config, dtype?.ofAllTokens,
                    &reader) : nil)
    }
}
