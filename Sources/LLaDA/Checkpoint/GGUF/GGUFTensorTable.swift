/// The tensors of GGUF files by the engine's names; what is none of the model's keeps its own. A tensor may be in
/// parts.
struct GGUFTensorTable: @unchecked Sendable {  // it never changes
    private let files: [GGUF]
    private let tensors: Buffer<Parts>
    /// The number of tensors.
    let count: Int
    private let table: NameTable

    /// Where the parts of a tensor are.
    private struct Parts: BitwiseCopyable {
        var count: Int32
        /// For each part, whether it is there.
        var isThere: UInt32 = 0
        var places: (TensorPlace, TensorPlace, TensorPlace)

        init(count: Int) {
            let none = TensorPlace(shard: 0, entry: 0)
            self.count = Int32(count)
            places = (none, none, none)
        }

        subscript(part: Int) -> TensorPlace? {
            get {
                if isThere >> UInt32(part) & 1 == 0 { return nil }
                return part == 0 ? places.0 : part == 1 ? places.1 : places.2
            }
            set {
                guard let newValue else { return }
                isThere |= 1 << UInt32(part)
                switch part {
                case 0: places.0 = newValue
                case 1: places.1 = newValue
                default: places.2 = newValue
                }
            }
        }
    }

    /// Throws `.gguf` for a tensor that is there twice.
    init(_ files: [GGUF]) throws(LLaDAError) {
        let most = files.reduce(0) { $0 + $1.entries.count }
        let tensors = try Buffer<Parts>(count: most)
        let table = try NameTable(capacity: most)
        var count = 0
        func name(_ tensor: Int) -> JSONString { Self.name(tensors.pointer[tensor], files) }
        for (number, file) in files.enumerated() {
            for (index, entry) in zip(file.entries.indices, file.entries) {
                let place = GGUFNames.place(entry.name.string)
                let (part, parts) = place?.part.map { ($0, GGUFNames.partCount) } ?? (0, 1)
                tensors.pointer[count] = Parts(count: parts)
                tensors.pointer[count][part] = TensorPlace(shard: UInt32(number), entry: UInt32(index))
                let known = table.insert(place.map { JSONString($0.name) } ?? entry.name, count, nameOf: name)
                guard let known else {
                    count += 1
                    continue
                }
                guard tensors.pointer[known].count == parts, tensors.pointer[known][part] == nil else {
                    throw LLaDAError(
                        .gguf, "\(file.name): tensor \(entry.name.quoted) is there twice, in two files or two forms")
                }
                tensors.pointer[known][part] = tensors.pointer[count][part]
            }
        }
        self.files = files
        self.tensors = tensors
        self.count = count
        self.table = table
    }

    func name(_ tensor: Int) -> JSONString { Self.name(tensors.pointer[tensor], files) }

    private static func name(_ parts: Parts, _ files: [GGUF]) -> JSONString {
        guard let place = parts[parts.isThere.trailingZeroBitCount] else { return "" }
        let name = files[Int(place.shard)].entries[Int(place.entry)].name
        return GGUFNames.place(name.string).map { JSONString($0.name) } ?? name
    }

    /// Returns where the parts of a tensor are, nil for those that are missing.
    func parts(_ tensor: Int) -> [TensorPlace?] {
        let parts = tensors.pointer[tensor]
        return (0..<Int(parts.count)).map { parts[$0] }
    }

    /// Returns the number of a tensor; nil if there is none of this name.
    func find(_ name: JSONString) -> Int? { table.find(name, nameOf: self.name) }
}
