import Kernels

/// Memory for the allocations of Swift's own, which cannot fail: in `libllada.so` they come from a reserve where the
/// system has none (reserve.h). Code whose allocations depend on a file or a caller asks for room before; loops have
/// checkpoints.
package enum Reserve {
    /// Runs a call: whether it was given something of the reserve is counted from here. Calls may be nested.
    package static func enter<Result>(_ call: () throws(LLaDAError) -> Result) throws(LLaDAError) -> Result {
        let outer = llk_reserve_enter()
        defer { llk_reserve_leave(outer) }
        guard llk_reserve_admits() else { throw exhausted }
        return try call()
    }

    /// A checkpoint: throws `.outOfMemory` if the call was given something of the reserve. A call that allocates in a
    /// loop has one in it, and one that hands out an object, before that.
    @inline(__always)
    package static func check() throws(LLaDAError) {
        if llk_reserve_is_drawn() { throw exhausted }
    }

    /// Returns the result; nil for an error. If that is want of memory, the next checkpoint tells it.
    package static func note<Result>(_ work: () throws(LLaDAError) -> Result) -> Result? {
        do throws(LLaDAError) {
            return try work()
        } catch {
            if error.status == .outOfMemory { llk_reserve_mark() }
            return nil
        }
    }

    /// Its words need no memory.
    package static let exhausted = LLaDAError(.outOfMemory, "the system has no memory")

    /// Runs `body` with `bytes` at hand for whatever it allocates in blocks that the reserve does not have. Throws
    /// `.outOfMemory` if there is no memory for them.
    package static func withRoom<Result>(
        _ bytes: Int, _ body: () throws(LLaDAError) -> Result
    ) throws(LLaDAError) -> Result {
        let room = try Room(bytes)
        defer { room.close() }
        return try body()
    }

    /// Memory at hand until `close`, which must come in the same scope: in a `defer`.
    package struct Room {
        /// Nil where the reserve alone suffices.
        private let room: OpaquePointer?

        package init(_ bytes: Int) throws(LLaDAError) {
            room = bytes <= Int(LLK_RESERVE_LARGEST) ? nil : llk_room_open(bytes)
            if room == nil, bytes > Int(LLK_RESERVE_LARGEST) { throw exhausted }
        }

        package func close() {
            if let room { llk_room_close(room) }
        }
    }
}

extension Array {
    /// Makes room for at least `count` more elements, and for some that are to come. Throws `.outOfMemory`; `append`
    /// would end the process.
    @inline(__always)
    package mutating func makeRoom(for count: Int = 1) throws(LLaDAError) {
        if capacity - self.count < count { try grow(by: count) }
    }

    /// Makes room for `count` elements in all. Throws `.outOfMemory`; `reserveCapacity` would end the process.
    @inline(__always)
    package mutating func reserve(_ count: Int) throws(LLaDAError) {
        if capacity < count { try grow(by: count - self.count) }
    }

    @inline(never)
    private mutating func grow(by more: Int) throws(LLaDAError) {
        try Reserve.check()
        let wanted = Swift.max(self.count + more, capacity + capacity / 2)
        // The header of the storage has 32 bytes.
        try Reserve.withRoom(64 + wanted * MemoryLayout<Element>.stride) { () throws(LLaDAError) in
            reserveCapacity(wanted)
        }
    }
}
