/// Where a tensor is: the file, and the entry of it.
package struct TensorPlace: BitwiseCopyable, Sendable {
    package var shard: UInt32
    package var entry: UInt32
}

/// The tensors of a checkpoint by their names of spec/model.md, section 2.
struct TensorTable: Sendable {
    private let files: [Safetensors]
    private let places: SendablePlaces
    private let table: NameTable

    private struct SendablePlaces: @unchecked Sendable {  // they never change
        let buffer: Buffer<TensorPlace>?
    }

    /// Makes the table of some tensors of the files. Throws `.tensor` for two that are the same one.
    init(
        _ places: borrowing GrowingBuffer<TensorPlace>, _ files: [(name: JSONString, tensors: Safetensors)]
    ) throws(LLaDAError) {
        self.files = files.map(\.tensors)
        self.places = SendablePlaces(buffer: try places.finished())
        table = try NameTable(capacity: places.count)
        for index in 0..<places.count {
            guard let other = table.insert(name(index), index, nameOf: name) else { continue }
            throw LLaDAError(
                .tensor,
                """
                \(files[Int(place(index).shard)].name.string): tensors \(storedName(other).quoted) and \
                \(storedName(index).quoted) are the same one under two names
                """)
        }
    }

    var count: Int { places.buffer?.count ?? 0 }

    func place(_ index: Int) -> TensorPlace { places.buffer?.pointer[index] ?? TensorPlace(shard: 0, entry: 0) }

    /// Returns the name by which the engine asks for a tensor.
    func name(_ index: Int) -> JSONString { TensorNames.canonical(storedName(index)) }

    /// Returns the name that the file has.
    func storedName(_ index: Int) -> JSONString {
        let place = place(index)
        return files[Int(place.shard)].entries.name(Int(place.entry))
    }

    func entry(_ index: Int) -> Safetensors.Entry {
        let place = place(index)
        return files[Int(place.shard)].entries[Int(place.entry)]
    }

    func type(_ index: Int) -> SafetensorsType {
        let place = place(index)
        return files[Int(place.shard)].entries.type(Int(place.entry))
    }

    /// The bytes of all tensors.
    var byteCount: Int {
        (0..<count).reduce(0) { sum, index in
            let place = place(index)
            return sum + files[Int(place.shard)].entries.bytes(Int(place.entry)).count
        }
    }

    /// Returns the number of a tensor; nil if there is none of this name.
    func find(_ name: JSONString) -> Int? { table.find(name, nameOf: self.name) }
}
