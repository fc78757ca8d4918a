/// A model in a GGUF file, or in several that `gguf-split` made of one: the configuration and the tokenizer are made of
/// its metadata, and tensors have the engine's names.
///
/// Several threads may use it at once.
package final class GGUFCheckpoint: TensorSource, Sendable {
    package let directory: String
    package let config: ModelConfig
    package let sideFiles: SideFiles
    package var metadata: [(key: JSONString, value: JSONString)] { [] }
    /// What is made of the headers.
    private let reservation: Reservation?
    private let files: [GGUF]
    private let table: GGUFTensorTable
    /// The tensors that were asked for, by their numbers in the table.
    private let asked: Locked<BitSet>

    private struct Part {
        let entry: GGUF.Entry
        let file: GGUF
    }

    /// Opens the file `path`, and those that belong to it, and reads their headers, which count towards `budget`.
    /// `progress` receives the part done, from 0 to 1. An error that it throws ends the opening and is rethrown.
    package static func open(
        _ path: String, budget: MemoryBudget? = nil, progress: Progress? = nil
    ) throws(LLaDAError) -> GGUFCheckpoint {
        try GGUFCheckpoint(path, budget, progress)
    }

    private init(
        _ path: String, _ budget: MemoryBudget?, _ progress: Progress?
    ) throws(LLaDAError) {
        let files = try GGUFSplit.open(path, budget, progress)
        let first = files[0]
        // Tables of tensors; and texts that are made of the metadata, in arrays that double.
        let count = files.reduce(0) { $0 + $1.entries.count }
        let room = try Reserve.Room(1024 * count + 32 * first.headerSize)
        defer { room.close() }
        let config = try GGUFConfig(first)
        directory = path
        let table = try GGUFTensorTable(files)
        self.files = files
        self.table = table
        let asked = try BitSet(count: table.count)
        self.asked = Locked(asked)
        let hasBias = (0..<table.count).contains { table.name($0).hasSuffix("mlp.gate.expert_bias") }
        sideFiles = try Self.sideFiles(first, config: try config.json(hasExpertBias: hasBias, budget), budget)
        self.config = try ModelConfig(sideFiles)
        if let budget {
            let headers = files.reduce(0) { $0 + $1.infoBytes }
            reservation = try Reservation(
                (1 + MemoryBudget.smallFileMultiple) * headers, in: budget)
        } else {
            reservation = nil
        }
        try Reserve.check()
        try progress?(1)
    }

    private static let embedding: JSONString = "model.word_embeddings.weight"
    private static let head: JSONString = "lm_head.weight"

    private static func sideFiles(_ file: GGUF, config: SharedBytes, _ budget: MemoryBudget?) throws(LLaDAError)
        -> SideFiles
    {
        var files = SideFiles(madeOf: file.name)
        files.add(.config, config)
        let tokenizer = GGUFTokenizer(file)
        if let json = try tokenizer.json(budget) { files.add(.tokenizer, json) }
        if let template = try tokenizer.chatTemplate(budget) { files.add(.chatTemplate, template) }
        return files
    }

    /// Calls `body` with the type of each tensor and its bytes.
    package func forEachStored(_ body: (_ type: String, _ bytes: Int) -> Void) {
        for file in files { for entry in file.entries { body(entry.type.name, entry.bytes.count) } }
    }

    package var listSize: Int {
        (0..<table.count).reduce(0) { $0 + 2048 + 32 * table.name($1).count }
    }

    package var byteCount: Int {
        files.reduce(0) { sum, file in
            let entries = file.entries
            return entries.indices.reduce(sum) { $0 + entries.place($1).count }
        }
    }

    package var memory: SourceMemory {
        SourceMemory(
            smallBytes: sideFiles.byteCount, headerBytes: files.reduce(0) { $0 + $1.infoBytes },
            openBytes: files.reduce(0) { $0 + $1.headerBytes })
    }

    package func has(_ name: String) -> Bool { find(JSONString(name)) != nil }

    /// Without a head of its own, a model's head is the embedding.
    private func find(_ name: JSONString) -> Int? {
        table.find(name) ?? (name == Self.head ? table.find(Self.embedding) : nil)
    }

    /// Returns the tensor of this name. Throws `.tensor` if it is missing or has another shape, and `.unsupported` if
    /// it has a type that the engine does not read.
    package func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        guard let number = find(JSONString(name)) else { throw missing(name, shape) }
        asked.withLock { $0.insert(number) }
        let places = table.parts(number)
        let found = places.map { place in
            place.map { Part(entry: files[Int($0.shard)].entries[Int($0.entry)], file: files[Int($0.shard)]) }
        }
        if found.count == 1, let part = found[0] {
            if part.entry.shape != shape { throw mismatch(part, expected: "\(shape)") }
            return try tensor(part, name, shape, part.entry.type.encoding)
        }
        return try joined(name, shape, found)
    }

    /// Returns the tensor whose rows are those of all parts.
    private func joined(_ name: String, _ shape: [Int], _ found: [Part?]) throws(LLaDAError) -> Tensor {
        var parts: [Tensor] = []
        var rows = 0
        for part in found {
            guard let part else { throw missing(name, shape) }
            let own = part.entry.shape
            guard shape.count == 2, own.count == 2, own[1] == shape[1], own[0] <= shape[0] - rows else {
                throw mismatch(part, expected: "rows that together are \(shape)")
            }
            rows += own[0]
            parts.append(try tensor(part, name, own, .blocks(part.entry.type)))
        }
        if rows != shape[0] {
            throw LLaDAError(.tensor, "\(directory): \(name) has \(rows) rows; expected \(shape[0])")
        }
        let types = found.compactMap { $0?.entry.type }
        let isOneType = types.allSatisfy { $0 == types[0] }
        return Tensor(
            name: name, dtype: isOneType ? parts[0].dtype : nil,
            encoding: isOneType ? types[0].encoding : .parts(parts), shape: shape, places: parts.flatMap(\.places))
    }

    private func tensor(
        _ part: Part, _ name: String, _ shape: [Int], _ encoding: Tensor.Encoding
    ) throws(LLaDAError) -> Tensor {
        let entry = part.entry
        guard entry.type.isRead else {
            throw LLaDAError(
                .unsupported, file: part.file.name, key: "tensor \(entry.name.quoted): type",
                found: "\(entry.type.number) (\(entry.type.name))", expected: GGUFType.readNames)
        }
        return Tensor(
            name: name, dtype: entry.type.numberFormat, encoding: encoding, shape: shape,
            places: [Tensor.Place(part.file.file, entry.bytes)])
    }

    package func checkUnchanged() throws(LLaDAError) {
        for file in files { try file.file.checkUnchanged() }
    }

    /// There are no tensors of bytes.
    package func bytes(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        throw LLaDAError(.tensor, "\(directory): tensor \"\(name)\" is not packed")
    }

    private func missing(_ name: String, _ shape: [Int]) -> LLaDAError {
        LLaDAError(.tensor, "\(directory): there is no tensor for \"\(name)\"; expected one of shape \(shape)")
    }

    private func mismatch(_ part: Part, expected: String) -> LLaDAError {
        LLaDAError(
            .tensor, file: part.file.name, key: "tensor \(part.entry.name.quoted): shape",
            found: "\(part.entry.shape)", expected: expected)
    }

    /// The first, by name, of the tensors that nobody has asked for yet.
    package var unusedTensor: String? {
        var unknown = NameSample()
        asked.withLock { asked in
            for tensor in 0..<table.count where !asked[tensor] { unknown.add(table.name(tensor)) }
        }
        return unknown.first.first?.string
    }
}
