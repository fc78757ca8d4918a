/// An open checkpoint folder in the layout of Hugging Face: the configuration and every tensor, all checked.
///
/// Several threads may use it at once.
package final class Checkpoint: TensorSource, Sendable {
    package let directory: String
    package let sideFiles: SideFiles
    package let config: ModelConfig
    /// The metadata of `model.safetensors`; empty if the weights are in shards.
    package let metadata: [(key: JSONString, value: JSONString)]
    private let shards: [Shard]
    private let table: TensorTable
    /// The index of the shards; nil if the weights are in a single file.
    private let index: ShardIndex?
    private let fileNotes: [String]
    /// The tensors that were asked for, by their numbers in the table.
    private let asked: Locked<BitSet>

    private struct Shard: Sendable {
        let name: JSONString
        let file: InputFile
        let tensors: Safetensors
    }

    package static let singleFileName: JSONString = "model.safetensors"
    private static let indexLimit = 256 << 20

    /// Opens the folder `path`, and reads the headers of its files. `files` are the small files, if they were read
    /// already. What is read counts towards `budget`. `progress` receives the part done, from 0 to 1. An error that it
    /// throws ends the opening and is rethrown.
    package static func open(
        _ path: String, files: SideFiles? = nil, budget: MemoryBudget? = nil, progress: Progress? = nil
    ) throws(LLaDAError) -> Checkpoint {
        try Checkpoint(path, files, budget, progress)
    }

    private init(
        _ path: String, _ files: SideFiles?, _ budget: MemoryBudget?, _ progress: Progress?
    ) throws(LLaDAError) {
        // "" + "/config.json" would be a file of the root folder.
        if path.isEmpty { throw LLaDAError(.io, "the path of the checkpoint is empty") }
        try WrongFile.checkFolder(path)
        directory = path
        if let files { sideFiles = files } else { sideFiles = try SideFiles(folder: path, budget: budget) }
        let side = sideFiles
        let room = try Reserve.Room(16 * side.byteCount(of: .config) + 16 * side.byteCount(of: .generationConfig))
        defer { room.close() }
        let config = try ModelConfig(side)
        self.config = config
        var notes: [String] = []
        let index = try Self.index(in: path, budget, &notes)
        // Lists of the files, and of what is missing.
        let lists = try Reserve.Room(512 * (index?.shards.count ?? 0))
        defer { lists.close() }
        var names = [Self.singleFileName]
        if let index { names = try Self.present(index, in: path, config, &notes) }
        let shards = try Self.load(names, in: path, budget, progress)
        let files = shards.map { (name: $0.name, tensors: $0.tensors) }
        if let index {
            let tensors = try IndexedTensors(index, files)
            table = try TensorTable(tensors.present, files)
            notes += tensors.notes
            metadata = []
        } else {
            var all = GrowingBuffer<TensorPlace>()
            for entry in files[0].tensors.entries.indices { try all.append(.init(shard: 0, entry: UInt32(entry))) }
            table = try TensorTable(all, files)
            metadata = files[0].tensors.metadata
        }
        self.shards = shards
        self.index = index
        fileNotes = notes
        let asked = try BitSet(count: table.count)
        self.asked = Locked(asked)
        try Reserve.check()
        try progress?(1)
    }

    /// Reads the index of the shards; nil if the weights are in a single file. An index takes precedence over a single
    /// file, unless nothing of what it names is there.
    private static func index(
        in folder: String, _ budget: MemoryBudget?, _ notes: inout [String]
    ) throws(LLaDAError) -> ShardIndex? {
        let path = "\(folder)/\(ShardIndex.fileName)"
        let hasSingle = InputFile.exists("\(folder)/\(singleFileName.string)")
        if !InputFile.exists(path) {
            if hasSingle { return nil }
            throw LLaDAError(.io, "\(folder) has neither \(singleFileName.string) nor \(ShardIndex.fileName)")
        }
        let file = try FilePrefix(whole: path, limit: indexLimit, budget: budget)
        let index = try ShardIndex(file, budget: budget)
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
        let missing = index.shards.indices.filter { !InputFile.exists("\(folder)/\(index.shards[$0].string)") }
        if missing.isEmpty { return index.shards }
        let needed = index.firstTensors(of: Set(missing)) {
            TensorNames.isOfModel(TensorNames.canonical($0), layers: config.numHiddenLayers)
        }
        for number in missing {
            let shard = index.shards[number]
            if let tensor = needed[number] {
                throw LLaDAError(
                    .io,
                    """
                    \(ShardIndex.fileName): names \(shard.quoted) for tensor \(tensor.quoted), which is missing from \
                    \(folder)
                    """)
            }
            notes.append("\(ShardIndex.fileName) names \(shard.quoted), which is missing and not needed")
        }
        let absent = Set(missing)
        return index.shards.indices.filter { !absent.contains($0) }.map { index.shards[$0] }
    }

    private static func load(
        _ names: [JSONString], in folder: String, _ budget: MemoryBudget?, _ progress: Progress?
    ) throws(LLaDAError) -> [Shard] {
        var shards: [Shard] = []
        for name in names {
            try Reserve.check()
            let file = try InputFile("\(folder)/\(name.string)")
            let tensors = try Safetensors(file, name: name.string, budget: budget)
            shards.append(Shard(name: name, file: file, tensors: tensors))
            try progress?(Double(shards.count) / Double(names.count))
        }
        return shards
    }

    package var listSize: Int { shards.reduce(0) { $0 + $1.tensors.listSize } }
    package var byteCount: Int { table.byteCount }

    package var memory: SourceMemory {
        let headers = shards.reduce(index?.byteCount ?? 0) { $0 + $1.tensors.headerBytes }
        return SourceMemory(smallBytes: sideFiles.byteCount, headerBytes: headers)
    }

    package func checkUnchanged() throws(LLaDAError) {
        for shard in shards { try shard.file.checkUnchanged() }
    }

    package func has(_ name: String) -> Bool { table.find(JSONString(name)) != nil }

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
        guard let tensor = table.find(JSONString(name)), table.type(tensor) == .f8E8M0 else { return nil }
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
        guard let tensor = table.find(key) else { throw missing(key, shape) }
        let entry = table.entry(tensor)
        let shard = shards[Int(table.place(tensor).shard)]
        func mismatch(_ what: String, found text: String, expected: String) -> LLaDAError {
            LLaDAError(
                .tensor, file: shard.name.string, key: "tensor \(entry.name.quoted): \(what)", found: text,
                expected: expected)
        }
        guard isExpected(entry.type) else {
            throw mismatch("dtype", found: entry.type.rawValue, expected: expected)
        }
        if entry.shape != shape { throw mismatch("shape", found: "\(entry.shape)", expected: "\(shape)") }
        asked.withLock { $0.insert(tensor) }
        return Tensor(
            name: name, dtype: entry.type.numberFormat, shape: shape, places: [Tensor.Place(shard.file, entry.bytes)])
    }

    private func missing(_ name: JSONString, _ shape: [Int]) -> LLaDAError {
        if let index {
            let listed = (0..<index.count).first { TensorNames.canonical(index.name($0)) == name }
            if let listed {
                return LLaDAError(
                    .shardIndex,
                    """
                    \(ShardIndex.fileName): tensor \(name.quoted) is listed for \
                    \(index.shards[index.shard(listed)].string), which does not have it
                    """)
            }
            let holder = shards.first { shard in
                let entries = shard.tensors.entries
                return entries.indices.contains { TensorNames.canonical(entries.name($0)) == name }
            }
            if let holder {
                return LLaDAError(
                    .shardIndex,
                    "\(ShardIndex.fileName): tensor \(name.quoted) of \(holder.name.string) is not listed")
            }
        }
        let tied = name == "lm_head.weight" ? ", or tie_word_embeddings true if the embedding is the head" : ""
        return LLaDAError(
            .tensor, "\(directory): tensor \(name.quoted) is missing; expected one of shape \(shape)\(tied)")
    }

    /// Calls `body` with the names of the tensors that nobody has asked for yet, in the file and to the engine, and the
    /// kind of those that may be left out.
    package func forEachUnasked(_ body: (_ stored: JSONString, _ name: JSONString, _ surplus: Surplus?) -> Void) {
        asked.withLock { asked in
            let prediction = predictionLayers(asked)
            for tensor in 0..<table.count where !asked[tensor] {
                let name = table.name(tensor)
                var kind = Surplus(name, type: table.type(tensor))
                if kind == nil, let layer = TensorNames.layer(of: name), prediction.contains(layer) {
                    kind = .multiTokenPrediction
                } else if kind == nil, name == "lm_head.weight", config.tieWordEmbeddings {
                    kind = .tiedHead
                }
                body(table.storedName(tensor), name, kind)
            }
        }
    }

    /// Returns the layers beyond the model's that are for multi-token prediction: the config counts them, or they have
    /// what only such layers have, or too little for a layer of a model. Others mean that the config is wrong.
    private func predictionLayers(_ asked: BitSet) -> Set<Int> {
        var (marked, whole, all): (Set<Int>, Set<Int>, Set<Int>) = ([], [], [])
        for tensor in 0..<table.count where !asked[tensor] {
            let name = table.name(tensor)
            guard let layer = TensorNames.layer(of: name), layer >= config.numHiddenLayers else { continue }
            all.insert(layer)
            let isCounted = layer - config.numHiddenLayers < config.numNextnPredictLayers
            if isCounted || Surplus.marksPrediction(name) { marked.insert(layer) }
            if name.hasSuffix("attention.query_key_value.weight") { whole.insert(layer) }
        }
        return all.subtracting(whole.subtracting(marked))
    }

    /// The first, by name, of the tensors that nobody has asked for yet and that cannot be left out: a part of the
    /// model that would not be computed.
    package var unusedTensor: String? {
        var unknown = NameSample()
        forEachUnasked { _, name, surplus in if surplus == nil { unknown.add(name) } }
        return unknown.first.first?.string
    }

    /// What was left out or overlooked, a sentence each. It is complete once all tensors of the model are asked for.
    package var notes: [String] {
        var surplus: [Surplus: NameSample] = [:]
        forEachUnasked { stored, _, kind in if let kind { surplus[kind, default: NameSample()].add(stored) } }
        return fileNotes + Surplus.allCases.compactMap { kind in surplus[kind].map { Surplus.note($0, of: kind.name) } }
    }
}
