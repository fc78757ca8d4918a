/// Bytes and what keeps them: a file, or memory of the library. They are never written while somebody reads them.
package struct SharedBytes: @unchecked Sendable {
    package let bytes: UnsafeRawBufferPointer
    /// Nil: the caller keeps the bytes for as long as anything that was made of them is used.
    package let owner: AnyObject?

    package init(_ bytes: UnsafeRawBufferPointer, owner: AnyObject?) {
        self.bytes = bytes
        self.owner = owner
    }

    package init(_ buffer: Buffer<UInt8>) {
        self.init(UnsafeRawBufferPointer(start: buffer.pointer, count: buffer.count), owner: buffer)
    }

    /// Copies bytes. The copy counts towards `budget`. Throws `.outOfMemory`.
    package init(copying bytes: UnsafeRawBufferPointer, in budget: MemoryBudget? = nil) throws(LLaDAError) {
        let copy = try Buffer<UInt8>(count: bytes.count, in: budget)
        if let base = bytes.baseAddress {
            UnsafeMutableRawPointer(copy.pointer).copyMemory(from: base, byteCount: bytes.count)
        }
        self.init(copy)
    }

    package init(copying bytes: [UInt8], in budget: MemoryBudget? = nil) throws(LLaDAError) {
        self = try bytes.withUnsafeBufferPointer { (bytes) throws(LLaDAError) in
            try SharedBytes(copying: UnsafeRawBufferPointer(bytes), in: budget)
        }
    }
}
