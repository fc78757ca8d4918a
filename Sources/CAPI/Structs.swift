import LLaDA

/// A struct that the caller filled or wants filled, read and written no further than its `struct_size` says.
///
/// Fields are read one by one: each is whole or not there at all, and a flag may hold any byte.
struct CallerStruct<Struct> {
    private let base: UnsafeMutableRawPointer
    private let size: Int

    /// Refuses a struct without a size, and one that is larger than the library's and says something there.
    init(_ pointer: UnsafePointer<Struct>, _ name: String) throws(LLaDAError) {
        try self.init(UnsafeMutablePointer(mutating: pointer), name)
    }

    init(_ pointer: UnsafeMutablePointer<Struct>, _ name: String) throws(LLaDAError) {
        base = UnsafeMutableRawPointer(pointer)
        size = Int(base.load(as: UInt32.self))
        let known = MemoryLayout<Struct>.size
        // No struct will ever be that large: what is beyond is memory that nobody filled, and not to be touched.
        let limit = 4096
        if size < MemoryLayout<UInt32>.size || size > limit {
            throw .argument(
                "struct_size of \(name)", found: size, expected: "\(known); was the struct initialised?")
        }
        if size > known, UnsafeRawBufferPointer(start: base + known, count: size - known).contains(where: { $0 != 0 }) {
            throw .argument(
                "struct_size of \(name)", found: size,
                expected: "\(known), or zeros behind that: this library does not know what the others mean")
        }
    }

    /// Makes a struct of the caller's, of `size` bytes, from the library's: what the caller does not know is left out,
    /// what the library does not know is zero.
    static func initialize(_ pointer: UnsafeMutablePointer<Struct>?, _ size: Int, _ name: String, to value: Struct)
        throws(LLaDAError)
    {
        guard let pointer else { throw .null(name) }
        let head = MemoryLayout<UInt32>.size
        guard head...4096 ~= size else { throw .argument("size of \(name)", found: size, expected: "sizeof(\(name))") }
        let target = UnsafeMutableRawBufferPointer(start: UnsafeMutableRawPointer(pointer), count: size)
        withUnsafeBytes(of: value) { bytes in
            let known = min(size, bytes.count)
            target.copyBytes(from: bytes.prefix(known))
            for index in known..<size { target[index] = 0 }
        }
        target.storeBytes(of: UInt32(truncatingIfNeeded: size), as: UInt32.self)
    }

    /// The value of a field; nil if the caller's struct ends before it.
    subscript<Value>(_ field: KeyPath<Struct, Value>) -> Value? {
        offset(field, Value.self).map { base.load(fromByteOffset: $0, as: Value.self) }
    }

    /// The same for a flag: true for any byte but 0.
    subscript(flag field: KeyPath<Struct, Bool>) -> Bool? {
        offset(field, Bool.self).map { base.load(fromByteOffset: $0, as: UInt8.self) != 0 }
    }

    /// The number at a place of the struct; nil if the caller's struct ends before it.
    func load<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value? {
        offset + MemoryLayout<Value>.size <= size ? base.load(fromByteOffset: offset, as: type) : nil
    }

    private func offset<Value>(_ field: PartialKeyPath<Struct>, _ type: Value.Type) -> Int? {
        guard let offset = MemoryLayout<Struct>.offset(of: field), offset + MemoryLayout<Value>.size <= size else {
            return nil
        }
        return offset
    }

    /// Fills the caller's struct as far as it goes; its `struct_size` stays.
    func write(_ value: Struct) {
        let head = MemoryLayout<UInt32>.size
        withUnsafeBytes(of: value) { bytes in
            let rest = bytes.prefix(size).dropFirst(head)
            UnsafeMutableRawBufferPointer(start: base + head, count: rest.count).copyBytes(from: rest)
        }
    }
}
