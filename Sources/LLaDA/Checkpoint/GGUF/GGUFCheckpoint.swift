/// A model in a GGUF file, or in several that `gguf-split` made of one: the configuration and the tokenizer are made of
/// its metadata, and tensors have the engine's names.
///
/// Several threads may use it at once.
package final class GGUFCheckpoint: TensorSource, Sendable {
    package let directory: String
    package let config: ModelConfig
    package let sideFiles: SideFiles
    package var metadata: [(key: JSONString, value: JSONString)] { [] }
    private let files: [InputFile]
    private let stored: [String: Stored]
    private let asked = Locked<Set<String>>([])

    /// A tensor of the model: one of a file, or the parts that it is in.
    private struct Stored: Sendable {
        var parts: [Part?]
    }

    private struct Part: Sendable {
        let entry: GGUF.Entry
        let file: GGUF
    }

    /// Opens the file `path`, and those that belong to it, and reads their headers. `progress` receives the part done,
    /// from 0 to 1. An error that it throws ends the opening and is rethrown.
    package static func open(_ path: String, progress: Progress? = nil) throws(LLaDAError) -> GGUFCheckpoint {
        try GGUFCheckpoint(path, progress: progress)
    }

    private init(_ path: String, progress: Progress?) throws(LLaDAError) {
        let files = try GGUFSplit.open(path, progress)
        self.files = files.map(\.file)
        let first = files[0]
        let config = try GGUFConfig(first)
        directory = path
        var stored = try Self.merge(files)
        // Without a head of its own, a model's head is the embedding.
        if stored[Self.head] == nil, let embedding = stored[Self.embedding] { stored[Self.head] = embedding }
        self.stored = stored
        let biases = stored.keys.contains { $0.hasSuffix("mlp.gate.expert_bias") }
        sideFiles = try Self.sideFiles(first, config: try config.json(hasExpertBias: biases))
        self.config = try ModelConfig(sideFiles)
        try progress?(1)
    }

    private static let embedding = "model.word_embeddings.weight"
    private static let head = "lm_head.weight"

    private static func sideFiles(_ file: GGUF, config: [UInt8]) throws(LLaDAError) -> SideFiles {
        var files = SideFiles(madeOf: file.name)
        files.add(.config, config)
        let tokenizer = GGUFTokenizer(file)
        if let json = try tokenizer.json() { files.add(.tokenizer, json) }
        if let template = try tokenizer.chatTemplate() { files.add(.chatTemplate, template) }
        return files
    }

    /// Returns all tensors under the engine's names; what is none of the model's keeps its own.
    private static func merge(_ files: [GGUF]) throws(LLaDAError) -> [String: Stored] {
        var stored: [String: Stored] = [:]
        for file in files {
            for entry in file.entries {
                let place = GGUFNames.place(entry.name.string)
                let name = place?.name ?? entry.name.string
                let (part, count) = place?.part.map { ($0, GGUFNames.partCount) } ?? (0, 1)
                var tensor = stored[name] ?? Stored(parts: Array(repeating: nil, count: count))
                guard tensor.parts.count == count, tensor.parts[part] == nil else {
                    throw LLaDAError(
                        .gguf, "\(file.name): tensor \(entry.name.quoted) is there twice, in two files or two forms")
                }
                tensor.parts[part] = Part(entry: entry, file: file)
                stored[name] = tensor
            }
        }
        return stored
    }

    /// The types of the tensors and their bytes, in no order.
    package var storedTypes: [(name: String, bytes: Int)] {
        stored.values.flatMap { tensor in
            tensor.parts.compactMap { $0.map { (name: $0.entry.type.name, bytes: $0.entry.bytes.count) } }
        }
    }

    package var byteCount: Int {
        stored.values.reduce(0) { sum, tensor in tensor.parts.reduce(sum) { $0 + ($1?.entry.bytes.count ?? 0) } }
    }

    package func has(_ name: String) -> Bool { stored[name] != nil }

    /// Returns the tensor of this name. Throws `.tensor` if it is missing or has another shape, and `.unsupported` if
    /// it has a type that the engine does not read.
    package func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        guard let found = stored[name] else { throw missing(name, shape) }
        _ = asked.withLock { $0.insert(name) }
        if found.parts.count == 1, let part = found.parts[0] {
            if part.entry.shape != shape { throw mismatch(part, expected: "\(shape)") }
            return try tensor(part, name, shape, part.entry.type.encoding)
        }
        return try joined(name, shape, found.parts)
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
        for file in files { try file.checkUnchanged() }
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

    /// The names of the tensors that nobody has asked for yet, sorted.
    package var unusedTensors: [String] {
        let asked = asked.withLock { $0 }
        return stored.keys.filter { !asked.contains($0) }.sorted()
    }
}
