import LLaDA

/// A struct of the caller, which is read and written no further than its `struct_size` says.
///
/// Fields are read one by one. A field is there as a whole or not at all, and a flag may hold any byte.
struct CallerStruct<Struct> {
    private let base: UnsafeMutableRawPointer
    private let size: Int

    /// Checks the size. Throws `.invalidArgument` for a struct without a size, and for one that is larger than the
    /// library's and has non-zero bytes there.
    init(_ pointer: UnsafePointer<Struct>, _ name: String) throws(LLaDAError) {
        try self.init(UnsafeMutablePointer(mutating: pointer), name)
    }

    init(_ pointer: UnsafeMutablePointer<Struct>, _ name: String) throws(LLaDAError) {
        base = UnsafeMutableRawPointer(pointer)
        size = Int(base.load(as: UInt32.self))
        let known = MemoryLayout<Struct>.size
        // No struct will ever be that large. A larger size is memory that nobody filled, and must not be touched.
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

    /// Fills a struct of the caller, of `size` bytes, with the library's defaults. Fields that the caller does not know
    /// are left out, and fields that the library does not know are zero.
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

    /// Returns the value of a field; nil if the caller's struct ends before it.
    subscript<Value>(_ field: KeyPath<Struct, Value>) -> Value? {
        offset(field, Value.self).map { base.load(fromByteOffset: $0, as: Value.self) }
    }

    /// Returns the value of a flag, which is true for any byte but 0; nil if the caller's struct ends before it.
    subscript(flag field: KeyPath<Struct, Bool>) -> Bool? {
        offset(field, Bool.self).map { base.load(fromByteOffset: $0, as: UInt8.self) != 0 }
    }

    /// Returns the number at an offset of the struct; nil if the caller's struct ends before it.
    func load<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value? {
        offset + MemoryLayout<Value>.size <= size ? base.load(fromByteOffset: offset, as: type) : nil
    }

    private func offset<Value>(_ field: PartialKeyPath<Struct>, _ type: Value.Type) -> Int? {
        guard let offset = MemoryLayout<Struct>.offset(of: field), offset + MemoryLayout<Value>.size <= size else {
            return nil
        }
        return offset
    }

    /// Fills the caller's struct as far as it goes. Its `struct_size` stays.
    func write(_ value: Struct) {
        let head = MemoryLayout<UInt32>.size
        withUnsafeBytes(of: value) { bytes in
            let rest = bytes.prefix(size).dropFirst(head)
            UnsafeMutableRawBufferPointer(start: base + head, count: rest.count).copyBytes(from: rest)
        }
    }
}
