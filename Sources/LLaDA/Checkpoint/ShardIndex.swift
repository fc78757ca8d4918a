/// The file `model.safetensors.index.json`, which says which file of the folder holds which tensor.
package struct ShardIndex: Sendable {
    package static let fileName = "model.safetensors.index.json"

    /// The names of the files, sorted, each once.
    package let shards: [JSONString]
    /// The size of all tensors, in bytes, as the file gives it. Scripts that write an index often get it wrong.
    let totalSize: Int?
    private let map: JSONObject
    /// The tensors, in the order of the file.
    private let tensors: Buffer<Listed>
    private let table: NameTable

    private struct Listed: BitwiseCopyable {
        /// The place of the tensor's name in the file.
        var key: UInt32
        /// Into `shards`.
        var shard: UInt32
    }

    /// The bytes of the file.
    private(set) var byteCount = 0
    private var reservation: Reservation?

    /// The most files that an index may name. DeepSeek-V3 has 163.
    static let maximumShards = 10_000

    /// Reads the index of a file. What it takes counts towards `budget`.
    init(_ file: FilePrefix, budget: MemoryBudget?) throws(LLaDAError) {
        let count = file.bytes.count
        let reservation: Reservation?
        if let budget {
            reservation = try Reservation(MemoryBudget.smallFileMultiple * count, in: budget)
        } else {
            reservation = nil
        }
        self = try ShardIndex(try JSON.parse(file.shared, file: Self.fileName))
        byteCount = count
        self.reservation = reservation
    }

    package init(_ json: JSON, file: String = ShardIndex.fileName) throws(LLaDAError) {
        guard case .object(let root) = json else {
            throw LLaDAError(.shardIndex, "\(file): is \(json.summary); expected an object")
        }
        let value = root["weight_map"]
        guard case .object(let map)? = value else {
            throw LLaDAError(
                .shardIndex, file: file, key: "weight_map", found: value?.summary ?? "missing",
                expected: "an object from tensors to files")
        }
        let count = map.members.count
        if count == 0 { throw LLaDAError(.shardIndex, "\(file): weight_map is empty") }

        var names: [JSONString] = []  // in the order of the file
        let numbers = try NameTable(capacity: min(count, Self.maximumShards + 1))
        let table = try NameTable(capacity: count)
        let tensors = try Buffer<Listed>(count: count)
        func name(_ index: Int) -> JSONString { map.members.member(at: tensors.pointer[index].key)?.key ?? "" }
        // Lists of the files.
        let room = try Reserve.Room(256 * min(count, Self.maximumShards))
        defer { room.close() }
        var members = map.members.makeIterator()
        var index = 0
        while let (tensor, value) = members.next() {
            try Reserve.check()
            guard case .string(let shard) = value else {
                throw LLaDAError(
                    .shardIndex, file: file, key: "the file of tensor \(tensor.quoted)", found: value.summary,
                    expected: "a string")
            }
            var number = names.count
            if let known = numbers.insert(shard, number, nameOf: { names[$0] }) {
                number = known
            } else {
                try Self.checkPlain(shard, of: tensor, file: file)
                if number == Self.maximumShards {
                    throw LLaDAError(.shardIndex, "\(file): names more than \(number) files, all that are accepted")
                }
                names.append(shard)
            }
            tensors.pointer[index] = Listed(key: members.keyPlace, shard: UInt32(number))
            _ = table.insert(tensor, index, nameOf: name)
            index += 1
        }
        let order = names.indices.sorted { names[$0].precedes(names[$1]) }
        var place = [UInt32](repeating: 0, count: names.count)
        for (sorted, number) in order.enumerated() { place[number] = UInt32(sorted) }
        for index in 0..<count { tensors.pointer[index].shard = place[Int(tensors.pointer[index].shard)] }
        shards = order.map { names[$0] }
        totalSize = Self.totalSize(root)
        self.map = map
        self.tensors = tensors
        self.table = table
    }

    /// The number of tensors that the index lists.
    var count: Int { tensors.count }

    /// Returns a tensor's name, by its number.
    func name(_ tensor: Int) -> JSONString { map.members.member(at: tensors.pointer[tensor].key)?.key ?? "" }

    /// Returns the file that a tensor is listed for, into `shards`.
    func shard(_ tensor: Int) -> Int { Int(tensors.pointer[tensor].shard) }

    /// Returns the number of a tensor; nil if the index does not list it.
    func find(_ name: JSONString) -> Int? { table.find(name, nameOf: self.name) }

    /// Throws `.shardIndex` unless the name is a plain file name: a checkpoint must not make the host read other files.
    private static func checkPlain(_ shard: JSONString, of tensor: JSONString, file: String) throws(LLaDAError) {
        func error(_ problem: String) -> LLaDAError {
            LLaDAError(.shardIndex, "\(file): tensor \(tensor.quoted) is in \(shard.quoted), \(problem)")
        }
        if shard.isEmpty { throw error("an empty name; expected a file") }
        if shard.contains(0) { throw error("a name with a NUL byte") }
        if shard.contains(UInt8(ascii: "/")) || shard == ".." {
            throw error("which leaves the folder; expected a plain file name")
        }
        if !shard.hasSuffix(".safetensors") {
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

    /// Returns, for each of the files, the lowest of the tensors that the index lists for it and that `isWanted`, so
    /// that the same folder always gives the same message.
    func firstTensors(of files: Set<Int>, where isWanted: (JSONString) -> Bool) -> [Int: JSONString] {
        var first: [Int: JSONString] = [:]
        for tensor in 0..<count where files.contains(shard(tensor)) {
            let name = name(tensor)
            if let other = first[shard(tensor)], !name.precedes(other) { continue }
            if isWanted(name) { first[shard(tensor)] = name }
        }
        return first
    }
}

/// What an index makes of the files that it names: which tensors the checkpoint has. The index decides; what the files
/// have besides is left out.
package struct IndexedTensors: ~Copyable {
    /// The tensors that are part of the checkpoint.
    package private(set) var present = GrowingBuffer<TensorPlace>()
    private(set) var notes: [String] = []

    /// What the files have of a tensor that the index lists.
    private struct Found: BitwiseCopyable {
        var isThere = false
        /// The files that have the tensor besides, 0, 1, or 2 for more; and the last of these places.
        var elsewhere: UInt8 = 0
        var place = TensorPlace(shard: 0, entry: 0)
    }

    /// `shards` are files of the index, which may lack some.
    package init(_ index: ShardIndex, _ shards: [(name: JSONString, tensors: Safetensors)]) throws(LLaDAError) {
        let listed = try Buffer<Found>(count: index.count, repeating: Found())
        var extra = NameSample()
        var total = 0
        for (number, shard) in shards.enumerated() {
            let own = index.shards.firstIndex(of: shard.name)
            for entry in shard.tensors.entries.indices {
                let name = shard.tensors.entries.name(entry)
                let place = TensorPlace(shard: UInt32(number), entry: UInt32(entry))
                guard let tensor = index.find(name) else {
                    extra.add(name)
                    continue
                }
                if index.shard(tensor) == own {
                    try present.append(place)
                    total &+= shard.tensors.entries.bytes(entry).count
                    listed.pointer[tensor].isThere = true
                } else {
                    listed.pointer[tensor].elsewhere = min(listed.pointer[tensor].elsewhere + 1, 2)
                    listed.pointer[tensor].place = place
                }
            }
        }
        var (absent, elsewhere) = (NameSample(), NameSample())
        for tensor in 0..<index.count {
            let found = listed.pointer[tensor]
            if found.isThere {
                if found.elsewhere > 0 { extra.add(index.name(tensor)) }
            } else if found.elsewhere == 1 {
                // The checkpoint has this tensor, in one place: the index names another file.
                try present.append(found.place)
                total &+= shards[Int(found.place.shard)].tensors.entries.bytes(Int(found.place.entry)).count
                elsewhere.add(index.name(tensor))
            } else {
                absent.add(index.name(tensor))
            }
        }
        let file = ShardIndex.fileName
        if elsewhere.count > 0 { notes.append(Self.note("\(file) names the wrong file for", elsewhere)) }
        if absent.count > 0 { notes.append(Self.note("\(file) lists", absent, " that no file has")) }
        if extra.count > 0 { notes.append(Self.note("left out", extra, " (\(file) does not list them there)")) }
        if let stated = index.totalSize, stated != total, absent.count == 0 {
            notes.append("\(file): metadata.total_size is \(stated); the tensors have \(total) bytes")
        }
    }

    private static func note(_ before: String, _ names: NameSample, _ after: String = "") -> String {
        let (tensors, shown) = names.phrases
        return "\(before) \(tensors)\(after): \(shown)"
    }
}
