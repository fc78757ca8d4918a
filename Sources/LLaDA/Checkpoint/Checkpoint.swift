/// An open checkpoint folder in the layout of Hugging Face: the configuration and every tensor, all checked.
///
/// Several threads may use it at once.
package final class Checkpoint: TensorSource, Sendable {
    package let directory: String
    package let sideFiles: SideFiles
    package let config: ModelConfig
    /// The metadata of `model.safetensors`; empty if the weights are in shards.
    package let metadata: [(key: JSONString, value: JSONString)]
    private let files: [InputFile]
    /// By the names of spec/model.md, section 2.
    private let stored: [JSONString: Stored]
    /// The tensors that the index lists and no file has, with their files; those that a file has and the index does not
    /// list.
    private let absent: [JSONString: JSONString]
    private let unlisted: [JSONString: JSONString]
    private let fileNotes: [String]
    private let asked = Locked<Set<JSONString>>([])

    private struct Stored: Sendable {
        let entry: Safetensors.Entry
        let file: InputFile
        /// The shard's name, for messages.
        let fileName: String
    }

    package static let singleFileName: JSONString = "model.safetensors"
    private static let indexLimit = 256 << 20

    /// Opens the folder `path`, and reads the headers of its files. `progress` receives the part done, from 0 to 1. An
    /// error that it throws ends the opening and is rethrown.
    package static func open(_ path: String, progress: Progress? = nil) throws(LLaDAError) -> Checkpoint {
        try Checkpoint(path, progress: progress)
    }

    private init(_ path: String, progress: Progress?) throws(LLaDAError) {
        // "" + "/config.json" would be a file of the root folder.
        if path.isEmpty { throw LLaDAError(.io, "the path of the checkpoint is empty") }
        try WrongFile.checkFolder(path)
        directory = path
        sideFiles = try SideFiles(folder: path)
        let config = try ModelConfig(sideFiles)
        self.config = config
        var notes: [String] = []
        let index = try Self.index(in: path, &notes)
        var names = [Self.singleFileName]
        if let index { names = try Self.present(index, in: path, config, &notes) }
        let shards = try Self.load(names, in: path, progress)
        let tensors = index.map { IndexedTensors($0, shards.map { ($0.name, $0.tensors) }) }
        files = shards.map(\.file)
        metadata = index == nil ? shards[0].tensors.metadata : []
        absent = Self.canonical(tensors?.absent)
        unlisted = Self.canonical(tensors?.unlisted)
        fileNotes = notes + (tensors?.notes ?? [])
        stored = try Self.merge(shards, tensors?.present ?? shards[0].tensors.entries.map { ($0, 0) })
        try progress?(1)
    }

    /// Reads the index of the shards; nil if the weights are in a single file. An index takes precedence over a single
    /// file, unless nothing of what it names is there.
    private static func index(in folder: String, _ notes: inout [String]) throws(LLaDAError) -> ShardIndex? {
        let path = "\(folder)/\(ShardIndex.fileName)"
        let hasSingle = InputFile.exists("\(folder)/\(singleFileName.string)")
        if !InputFile.exists(path) {
            if hasSingle { return nil }
            throw LLaDAError(.io, "\(folder) has neither \(singleFileName.string) nor \(ShardIndex.fileName)")
        }
        let index = try ShardIndex(try JSON.read(path, name: ShardIndex.fileName, limit: indexLimit))
        if !hasSingle || index.shards.contains(singleFileName) { return index }
        if index.shards.contains(where: { InputFile.exists("\(folder)/\($0.string)") }) {
            notes.append("left out \(singleFileName.string): \(ShardIndex.fileName) names other files")
            return index
        }
        notes.append("left out \(ShardIndex.fileName): none of the files that it names is there")
        return nil
    }

    /// Returns the shards that are there. Throws `.io` if another one should have a tensor of the model.
    private static func present(
        _ index: ShardIndex, in folder: String, _ config: ModelConfig, _ notes: inout [String]
    ) throws(LLaDAError) -> [JSONString] {
        var present: [JSONString] = []
        for shard in index.shards {
            if InputFile.exists("\(folder)/\(shard.string)") {
                present.append(shard)
                continue
            }
            let needed = index.firstTensor(in: shard) {
                TensorNames.isOfModel(TensorNames.canonical($0), layers: config.numHiddenLayers)
            }
            if let needed {
                throw LLaDAError(
                    .io,
                    """
                    \(ShardIndex.fileName): names \(shard.quoted) for tensor \(needed.quoted), which is missing from \
                    \(folder)
                    """)
            }
            notes.append("\(ShardIndex.fileName) names \(shard.quoted), which is missing and not needed")
        }
        return present
    }

    private struct Shard {
        let name: JSONString
        let file: InputFile
        let tensors: Safetensors
    }

    private static func load(
        _ names: [JSONString], in folder: String, _ progress: Progress?
    ) throws(LLaDAError) -> [Shard] {
        var shards: [Shard] = []
        for name in names {
            let file = try InputFile("\(folder)/\(name.string)")
            shards.append(Shard(name: name, file: file, tensors: try Safetensors(file, name: name.string)))
            try progress?(Double(shards.count) / Double(names.count))
        }
        return shards
    }

    /// Returns the tensors under their canonical names.
    private static func merge(
        _ shards: [Shard], _ tensors: [(entry: Safetensors.Entry, shard: Int)]
    ) throws(LLaDAError) -> [JSONString: Stored] {
        var stored: [JSONString: Stored] = [:]
        stored.reserveCapacity(tensors.count)
        for (entry, number) in tensors {
            let shard = shards[number]
            let new = Stored(entry: entry, file: shard.file, fileName: shard.name.string)
            if let old = stored.updateValue(new, forKey: TensorNames.canonical(entry.name)) {
                throw LLaDAError(
                    .tensor,
                    """
                    \(new.fileName): tensors \(old.entry.name.quoted) and \(entry.name.quoted) are the same one under \
                    two names
                    """
                )
            }
        }
        return stored
    }

    package func checkUnchanged() throws(LLaDAError) {
        for file in files { try file.checkUnchanged() }
    }

    private static func canonical(_ names: [JSONString: JSONString]?) -> [JSONString: JSONString] {
        var canonical: [JSONString: JSONString] = [:]
        for (name, shard) in names ?? [:] { canonical[TensorNames.canonical(name)] = shard }
        return canonical
    }

    package var byteCount: Int { stored.values.reduce(0) { $0 + $1.entry.bytes.count } }

    package func has(_ name: String) -> Bool { stored[JSONString(name)] != nil }

    /// Returns the tensor of this name. Throws `.tensor` if it is missing, has another shape, or has a type that the
    /// engine does not read.
    package func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        let hasFP8 = config.blockFP8 != nil
        return try find(name, shape: shape, hasFP8 ? "F32, F16, BF16 or F8_E4M3" : "F32, F16 or BF16") {
            $0.numberFormat != nil && ($0 != .f8E4M3 || hasFP8)
        }
    }

    /// Returns the exponents of this name, one byte each: scales in F8_E8M0; nil if they have another type. Throws
    /// `.tensor` if they have another shape.
    package func exponents(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor? {
        guard stored[JSONString(name)]?.entry.type == .f8E8M0 else { return nil }
        return try find(name, shape: shape, "F8_E8M0") { $0 == .f8E8M0 }
    }

    /// Returns the tensor of bytes of this name. Throws `.tensor` if it is missing or has another shape or type.
    package func bytes(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        try find(name, shape: shape, "U8") { $0 == .u8 }
    }

    private func find(
        _ name: String, shape: [Int], _ expected: String, _ isExpected: (SafetensorsType) -> Bool
    ) throws(LLaDAError) -> Tensor {
        let key = JSONString(name)
        guard let found = stored[key] else { throw missing(key, shape) }
        let entry = found.entry
        func mismatch(_ what: String, found text: String, expected: String) -> LLaDAError {
            LLaDAError(
                .tensor, file: found.fileName, key: "tensor \(entry.name.quoted): \(what)", found: text,
                expected: expected)
        }
        guard isExpected(entry.type) else {
            throw mismatch("dtype", found: entry.type.rawValue, expected: expected)
        }
        if entry.shape != shape { throw mismatch("shape", found: "\(entry.shape)", expected: "\(shape)") }
        _ = asked.withLock { $0.insert(key) }
        return Tensor(
            name: name, dtype: entry.type.numberFormat, shape: shape, places: [Tensor.Place(found.file, entry.bytes)])
    }

    private func missing(_ name: JSONString, _ shape: [Int]) -> LLaDAError {
        let index = ShardIndex.fileName
        if let shard = absent[name] {
            return LLaDAError(
                .shardIndex, "\(index): tensor \(name.quoted) is listed for \(shard.string), which does not have it")
        }
        if let shard = unlisted[name] {
            return LLaDAError(.shardIndex, "\(index): tensor \(name.quoted) of \(shard.string) is not listed")
        }
        let tied = name == "lm_head.weight" ? ", or tie_word_embeddings true if the embedding is the head" : ""
        return LLaDAError(
            .tensor, "\(directory): tensor \(name.quoted) is missing; expected one of shape \(shape)\(tied)")
    }

    /// The tensors that nobody has asked for yet: those of each kind that may be left out, and the others.
    private var leftover: (surplus: [Surplus: [String]], unknown: [String]) {
        let asked = asked.withLock { $0 }
        let rest = stored.filter { !asked.contains($0.key) }
        let prediction = predictionLayers(rest.keys)
        var (surplus, unknown): ([Surplus: [String]], [String]) = ([:], [])
        for (name, tensor) in rest {
            if let kind = Surplus(name, type: tensor.entry.type) {
                surplus[kind, default: []].append(tensor.entry.name.string)
            } else if let layer = TensorNames.layer(of: name), prediction.contains(layer) {
                surplus[.multiTokenPrediction, default: []].append(tensor.entry.name.string)
            } else if name == "lm_head.weight", config.tieWordEmbeddings {
                surplus[.tiedHead, default: []].append(tensor.entry.name.string)
            } else {
                unknown.append(name.string)
            }
        }
        return (surplus, unknown.sorted())
    }

    /// Returns the layers beyond the model's that are for multi-token prediction: the config counts them, or they have
    /// what only such layers have, or too little for a layer of a model. Others mean that the config is wrong.
    private func predictionLayers(_ names: some Sequence<JSONString>) -> Set<Int> {
        var (marked, whole, all): (Set<Int>, Set<Int>, Set<Int>) = ([], [], [])
        for name in names {
            guard let layer = TensorNames.layer(of: name), layer >= config.numHiddenLayers else { continue }
            all.insert(layer)
            let isCounted = layer - config.numHiddenLayers < config.numNextnPredictLayers
            if isCounted || Surplus.marksPrediction(name) { marked.insert(layer) }
            if name.string.hasSuffix("attention.query_key_value.weight") { whole.insert(layer) }
        }
        return all.subtracting(whole.subtracting(marked))
    }

    /// The names of the tensors that nobody has asked for yet and that cannot be left out, sorted: a part of the model
    /// that would not be computed.
    package var unusedTensors: [String] { leftover.unknown }

    /// What was left out or overlooked, a sentence each. It is complete once all tensors of the model are asked for.
    package var notes: [String] {
        let surplus = leftover.surplus
        return fileNotes + Surplus.allCases.compactMap { kind in surplus[kind].map { Surplus.note($0, of: kind.name) } }
    }
}
