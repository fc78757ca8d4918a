/// The file `model.safetensors.index.json`, which says which file of the folder holds which tensor.
package struct ShardIndex: Sendable {
    package static let fileName = "model.safetensors.index.json"

    /// The names of the files, sorted, each once.
    package let shards: [JSONString]
    private let shardOfTensor: [JSONString: JSONString]
    private let totalSize: Int?

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
        totalSize = try Self.totalSize(root, file: file)
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

    private static func totalSize(_ root: JSONObject, file: String) throws(LLaDAError) -> Int? {
        guard let metadata = root["metadata"] else { return nil }
        guard case .object(let object) = metadata else {
            throw LLaDAError(.shardIndex, file: file, key: "metadata", found: metadata.summary, expected: "an object")
        }
        // Some writers put a float here, which is rounded beyond 2^53; it allows no exact check.
        guard case .integer(let size)? = object["total_size"] else { return nil }
        return size
    }

    /// Throws `.shardIndex` unless the index and the files agree on every tensor, in both directions.
    package func check(
        _ contents: [(shard: JSONString, tensors: Safetensors)], file: String = ShardIndex.fileName
    ) throws(LLaDAError) {
        var found = Set<JSONString>(minimumCapacity: shardOfTensor.count)
        var total = 0
        for (shard, tensors) in contents {
            for entry in tensors.entries {
                guard let listed = shardOfTensor[entry.name] else {
                    throw LLaDAError(
                        .shardIndex, "\(shard.string): tensor \(entry.name.quoted) is not listed in \(file)")
                }
                if listed != shard {
                    throw LLaDAError(
                        .shardIndex,
                        "\(shard.string): tensor \(entry.name.quoted) is listed in \(file) for \(listed.string)")
                }
                found.insert(entry.name)
                let (sum, overflow) = total.addingReportingOverflow(entry.bytes.count)
                if overflow { throw LLaDAError(.shardIndex, "\(file): the tensors' sizes overflow 64 bits") }
                total = sum
            }
        }
        // The message names the lowest name, so that the same folder always gives the same message.
        let missing = shardOfTensor.keys.filter { !found.contains($0) }.min {
            $0.bytes.lexicographicallyPrecedes($1.bytes)
        }
        if let missing, let shard = shardOfTensor[missing] {
            throw LLaDAError(
                .shardIndex, "\(file): tensor \(missing.quoted) is listed for \(shard.string), which does not have it")
        }
        if let totalSize, totalSize != total {
            throw LLaDAError(
                .shardIndex, file: file, key: "metadata.total_size", found: "\(totalSize)",
                expected: "\(total), the sum of all tensors")
        }
    }
}
