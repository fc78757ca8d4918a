/// A tensor's bytes in an open checkpoint, row-major, little-endian.
package struct Tensor: @unchecked Sendable {  // the bytes behind `base` are never written
    package let name: String
    /// The number format; nil if the tensor holds bytes.
    package let dtype: NumberFormat?
    package let shape: [Int]
    /// The address of the first element. It may be unaligned: the format promises no alignment.
    package let base: UnsafeRawPointer
    package let byteCount: Int
    /// The file behind `base`. Whoever keeps `base` must keep this.
    package let owner: MappedFile

    package init(
        name: String, dtype: NumberFormat?, shape: [Int], base: UnsafeRawPointer, byteCount: Int, owner: MappedFile
    ) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.base = base
        self.byteCount = byteCount
        self.owner = owner
    }
}

/// An open checkpoint folder in the layout of Hugging Face: the configuration and every tensor, all checked.
///
/// Several threads may use it at once.
package final class Checkpoint: TensorSource, Sendable {
    package let directory: String
    package let sideFiles: SideFiles
    package let config: ModelConfig
    /// The metadata of `model.safetensors`; empty if the weights are in shards.
    package let metadata: [(key: JSONString, value: JSONString)]
    private let stored: [JSONString: Stored]
    private let asked = Locked<Set<JSONString>>([])

    private struct Stored: Sendable {
        let entry: Safetensors.Entry
        let file: MappedFile
        /// The shard's name, for messages.
        let fileName: String
    }

    package static let singleFileName: JSONString = "model.safetensors"
    private static let indexLimit = 256 << 20

    /// Opens the folder `path`. With `mapped` false, all weights are read into memory first; only then can opening take
    /// long. `progress` receives the part done, from 0 to 1. An error that it throws ends the opening and is rethrown.
    package static func open(
        _ path: String, mapped: Bool = true, progress: Progress? = nil
    ) throws(LLaDAError) -> Checkpoint {
        try Checkpoint(path, mapped: mapped, progress: progress)
    }

    private init(
        _ path: String, mapped: Bool, progress: Progress?
    ) throws(LLaDAError) {
        // "" + "/config.json" would be a file of the root folder.
        if path.isEmpty { throw LLaDAError(.io, "the path of the checkpoint is empty") }
        directory = path
        sideFiles = try SideFiles(folder: path)
        config = try ModelConfig(sideFiles)
        let index = try Self.index(in: path)
        let shards = try Self.load(index?.shards ?? [Self.singleFileName], in: path, mapped: mapped, progress)
        try index?.check(shards.map { ($0.name, $0.tensors) })
        metadata = index == nil ? shards[0].tensors.metadata : []
        stored = try Self.merge(shards)
        try progress?(1)
    }

    /// Reads the index of the shards; nil if the weights are in a single file. As in transformers, a single file takes
    /// precedence over an index.
    private static func index(in folder: String) throws(LLaDAError) -> ShardIndex? {
        if MappedFile.exists("\(folder)/\(singleFileName.string)") { return nil }
        let path = "\(folder)/\(ShardIndex.fileName)"
        if !MappedFile.exists(path) {
            throw LLaDAError(.io, "\(folder) has neither \(singleFileName.string) nor \(ShardIndex.fileName)")
        }
        return try ShardIndex(try JSON.read(path, name: ShardIndex.fileName, limit: indexLimit))
    }

    private struct Shard {
        let name: JSONString
        let file: MappedFile
        let tensors: Safetensors
    }

    private static func load(
        _ names: [JSONString], in folder: String, mapped: Bool, _ progress: Progress?
    ) throws(LLaDAError) -> [Shard] {
        var shards: [Shard] = []
        for name in names {
            let path = "\(folder)/\(name.string)"
            if !MappedFile.exists(path) {
                throw LLaDAError(.io, "\(ShardIndex.fileName): names \(name.quoted), which is missing from \(folder)")
            }
            // Shards have about equal sizes, so each counts as the same part of the whole.
            let before = Double(shards.count)
            let file = try MappedFile(path, mapped: mapped) { (part) throws(LLaDAError) in
                try progress?((before + part) / Double(names.count))
            }
            shards.append(Shard(name: name, file: file, tensors: try Safetensors(file.bytes, file: name.string)))
            if mapped { try progress?(Double(shards.count) / Double(names.count)) }
        }
        return shards
    }

    /// Returns all tensors under the names that `spec/model.md` gives them.
    private static func merge(_ shards: [Shard]) throws(LLaDAError) -> [JSONString: Stored] {
        var stored: [JSONString: Stored] = [:]
        for shard in shards {
            for entry in shard.tensors.entries {
                let new = Stored(entry: entry, file: shard.file, fileName: shard.name.string)
                if let old = stored.updateValue(new, forKey: canonical(entry.name)) {
                    throw LLaDAError(
                        .tensor,
                        """
                        \(new.fileName): tensors \(old.entry.name.quoted) and \(entry.name.quoted) are the same one \
                        under two names
                        """
                    )
                }
            }
        }
        return stored
    }

    /// The prefixes of checkpoints that were saved from a multimodal wrapper.
    private static let aliases: [(alias: JSONString, prefix: JSONString)] = [
        ("model.language_model.", "model."), ("model.lm_head.", "lm_head."),
    ]

    private static func canonical(_ name: JSONString) -> JSONString {
        for (alias, prefix) in aliases where name.bytes.starts(with: alias.bytes) {
            return JSONString(prefix.bytes + name.bytes.dropFirst(alias.bytes.count))
        }
        return name
    }

    package func has(_ name: String) -> Bool { stored[JSONString(name)] != nil }

    /// Returns the tensor of this name. Throws `.tensor` if it is missing, has another shape, or has a type that the
    /// engine does not read.
    package func tensor(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        try find(name, shape: shape, "F32, F16 or BF16") {
            $0.numberFormat != nil && ($0 != .f8E4M3 || config.blockFP8 != nil)
        }
    }

    /// Returns the tensor of bytes of this name. Throws `.tensor` if it is missing or has another shape or type.
    package func bytes(_ name: String, shape: [Int]) throws(LLaDAError) -> Tensor {
        try find(name, shape: shape, "U8") { $0 == .u8 }
    }

    private func find(
        _ name: String, shape: [Int], _ expected: String, _ isExpected: (SafetensorsType) -> Bool
    ) throws(LLaDAError) -> Tensor {
        let key = JSONString(name)
        guard let found = stored[key] else {
            throw LLaDAError(.tensor, "\(directory): tensor \(key.quoted) is missing; expected one of shape \(shape)")
        }
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
        // A file that holds a tensor is not empty, so its bytes have an address.
        guard let start = found.file.bytes.baseAddress else {
            throw LLaDAError(.io, "\(found.file.path) is empty")
        }
        _ = asked.withLock { $0.insert(key) }
        return Tensor(
            name: name, dtype: entry.type.numberFormat, shape: shape, base: start + entry.bytes.lowerBound,
            byteCount: entry.bytes.count,
            owner: found.file)
    }

    /// The names of the tensors that nobody has asked for yet, sorted: a leftover weight usually means another model.
    package var unusedTensors: [String] {
        let asked = asked.withLock { $0 }
        return stored.keys.filter { !asked.contains($0) }.map(\.string).sorted()
    }
}
