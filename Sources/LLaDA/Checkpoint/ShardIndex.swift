/// The file `model.safetensors.index.json`, which says which file of the folder holds which tensor.
package struct ShardIndex: Sendable {
    package static let fileName = "model.safetensors.index.json"

    /// The names of the files, sorted, each once.
    package let shards: [JSONString]
    let shardOfTensor: [JSONString: JSONString]
    /// The size of all tensors, in bytes, as the file gives it. Scripts that write an index often get it wrong.
    let totalSize: Int?

    package init(_ json: JSON, file: String = ShardIndex.fileName) throws(LLaDAError) {
        guard case .object(let root) = json else {
            throw LLaDAError(.shardIndex, "\(file): is \(json.summary); expected an object")
        }
        guard case .object(let map)? = root["weight_map"] else {
            throw LLaDAError(
                .shardIndex, file: file, key: "weight_map", found: root["weight_map"]?.summary ?? "missing",
                expected: "an object from tensors to files")
        }
        if map.members.isEmpty { throw LLaDAError(.shardIndex, "\(file): weight_map is empty") }

        var names: Set<JSONString> = []
        var shardOfTensor: [JSONString: JSONString] = [:]
        shardOfTensor.reserveCapacity(map.members.count)
        for (tensor, value) in map.members {
            guard case .string(let shard) = value else {
                throw LLaDAError(
                    .shardIndex, file: file, key: "the file of tensor \(tensor.quoted)", found: value.summary,
                    expected: "a string")
            }
            if names.insert(shard).inserted { try Self.checkPlain(shard, of: tensor, file: file) }
            shardOfTensor[tensor] = shard
        }
        self.shardOfTensor = shardOfTensor
        shards = names.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        totalSize = Self.totalSize(root)
    }

    /// Throws `.shardIndex` unless the name is a plain file name: a checkpoint must not make the host read other files.
    private static func checkPlain(_ shard: JSONString, of tensor: JSONString, file: String) throws(LLaDAError) {
        func error(_ problem: String) -> LLaDAError {
            LLaDAError(.shardIndex, "\(file): tensor \(tensor.quoted) is in \(shard.quoted), \(problem)")
        }
        if shard.bytes.isEmpty { throw error("an empty name; expected a file") }
        if shard.bytes.contains(0) { throw error("a name with a NUL byte") }
        if shard.bytes.contains(UInt8(ascii: "/")) || shard == ".." {
            throw error("which leaves the folder; expected a plain file name")
        }
        if !shard.bytes.reversed().starts(with: ".safetensors".utf8.reversed()) {
            throw error("which is no .safetensors file")
        }
    }

    /// Returns the size of all tensors as the file gives it; nil if it gives none, or one that is no whole number.
    private static func totalSize(_ root: JSONObject) -> Int? {
        guard case .object(let metadata)? = root["metadata"] else { return nil }
        switch metadata["total_size"] {
        case .integer(let size): return size
        // Some writers put a float here. Beyond 2^53 it is rounded, and says nothing exact.
        case .double(let size) where abs(size) < 0x1p53: return Int(exactly: size)
        default: return nil
        }
    }

    /// Returns the file of a tensor; nil if the index does not list it.
    func shard(of tensor: JSONString) -> JSONString? { shardOfTensor[tensor] }

    /// Returns the lowest of the tensors that the index lists for a file and that `isWanted`, so that the same folder
    /// always gives the same message.
    func firstTensor(in shard: JSONString, where isWanted: (JSONString) -> Bool) -> JSONString? {
        shardOfTensor.filter { $0.value == shard && isWanted($0.key) }.keys.min {
            $0.bytes.lexicographicallyPrecedes($1.bytes)
        }
    }
}

/// What an index makes of the files that it names: which tensors the checkpoint has. The index decides; what the files
/// have besides is left out.
package struct IndexedTensors {
    /// The tensors that are part of the checkpoint, under their names in the files.
    package private(set) var present: [(entry: Safetensors.Entry, shard: Int)] = []
    /// The tensors that the index lists and no file has, with the file that they are listed for.
    private(set) var absent: [JSONString: JSONString] = [:]
    /// The tensors that the index does not list, with the file that has them.
    private(set) var unlisted: [JSONString: JSONString] = [:]
    private(set) var notes: [String] = []

    package init(_ index: ShardIndex, _ shards: [(name: JSONString, tensors: Safetensors)]) {
        var found = Set<JSONString>(minimumCapacity: index.shardOfTensor.count)
        var misplaced: [JSONString: [(entry: Safetensors.Entry, shard: Int)]] = [:]
        for (number, shard) in shards.enumerated() {
            for entry in shard.tensors.entries {
                if let listed = index.shard(of: entry.name) {
                    if listed == shard.name {
                        present.append((entry, number))
                        found.insert(entry.name)
                    } else {
                        misplaced[entry.name, default: []].append((entry, number))
                    }
                } else {
                    unlisted[entry.name] = shard.name
                }
            }
        }
        let file = ShardIndex.fileName
        var elsewhere: [String] = []
        for (name, shard) in index.shardOfTensor where !found.contains(name) {
            if let places = misplaced[name], places.count == 1 {
                // The checkpoint has this tensor, in one place: the index names another file.
                present.append(places[0])
                elsewhere.append(name.string)
            } else {
                absent[name] = shard
            }
        }
        let extra = misplaced.filter { found.contains($0.key) }.map(\.key.string) + unlisted.keys.map(\.string)
        if !elsewhere.isEmpty { notes.append(Self.note("\(file) names the wrong file for", elsewhere)) }
        if !absent.isEmpty {
            notes.append(Self.note("\(file) lists", absent.keys.map(\.string), "that no file has"))
        }
        if !extra.isEmpty { notes.append(Self.note("left out", extra, "(\(file) does not list them there)")) }
        let total = present.reduce(0) { $0 &+ $1.entry.bytes.count }
        if let stated = index.totalSize, stated != total, absent.isEmpty {
            notes.append("\(file): metadata.total_size is \(stated); the tensors have \(total) bytes")
        }
    }

    private static func note(_ before: String, _ names: [String], _ after: String? = nil) -> String {
        let shown = names.sorted().prefix(3).joined(separator: ", ")
        let rest = names.count > 3 ? " and \(names.count - 3) more" : ""
        let tensors = "\(names.count) tensor\(names.count == 1 ? "" : "s")"
        return "\(before) \(tensors)\(after.map { " \($0)" } ?? ""): \(shown)\(rest)"
    }
}
