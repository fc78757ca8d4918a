/// The beginning of a new safetensors file. The tensors follow it without gaps.
package struct SafetensorsHeader {
    package struct Entry {
        package let name: String
        package let type: SafetensorsType
        package let shape: [Int]
        package let byteCount: Int

        package init(name: String, type: SafetensorsType, shape: [Int], byteCount: Int) {
            self.name = name
            self.type = type
            self.shape = shape
            self.byteCount = byteCount
        }
    }

    /// The alignment of the data, in bytes: one cache line. Kernels are faster on weights that begin at a cache line.
    package static let alignment = 64

    /// The header's length and the header, padded with spaces so that the data begin at a multiple of the alignment.
    package let bytes: [UInt8]

    /// Makes the header of these tensors, in this order. Names, keys and values come from this library and need no
    /// escapes.
    package init(_ entries: [Entry], metadata: [(key: String, value: String)]) {
        let notes = metadata.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",")
        var text = "{\"__metadata__\":{\(notes)}"
        var end = 0
        for entry in entries {
            let begin = end
            end += entry.byteCount
            let shape = entry.shape.map(String.init).joined(separator: ",")
            text += ",\"\(entry.name)\":{\"dtype\":\"\(entry.type.rawValue)\",\"shape\":[\(shape)],"
            text += "\"data_offsets\":[\(begin),\(end)]}"
        }
        text += "}"
        let length = MemoryLayout<UInt64>.size
        let alignment = Self.alignment
        let room = (length + text.utf8.count + alignment - 1) / alignment * alignment - length
        text += String(repeating: " ", count: room - text.utf8.count)
        bytes = withUnsafeBytes(of: UInt64(room).littleEndian) { Array($0) } + Array(text.utf8)
    }
}
