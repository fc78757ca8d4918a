import Kernels

/// A value that one thread at a time may use.
///
/// A process that was forked while another thread was using the value gets a new one, made as the first one was: what
/// that thread has left is half changed, so it is neither looked at nor freed (process.h).
package final class Locked<Value>: @unchecked Sendable {
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    private let make: () -> Value
    private let lock = UnsafeMutablePointer<llk_lock>.allocate(capacity: 1)

    package init(_ make: @escaping @autoclosure () -> Value) {
        self.make = make
        value.initialize(to: make())
        lock.initialize(to: 0)
    }

    deinit {
        // Nobody else refers to this object. If the lock is held, a fork has left the thread that held it behind.
        if llk_lock_try(lock) == LLK_TAKEN { value.deinitialize(count: 1) }
        value.deallocate()
        lock.deallocate()
    }

    package func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if llk_lock_wait(lock) == LLK_ORPHANED { value.initialize(to: make()) }
        defer { llk_lock_release(lock) }
        return try body(&value.pointee)
    }
}
