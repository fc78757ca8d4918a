import Kernels

/// Whether a thread is at work on something. Nobody waits for it.
package final class Occupancy: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<llk_lock>.allocate(capacity: 1)

    package init() { lock.initialize(to: 0) }

    deinit { lock.deallocate() }

    /// Begins work, and returns true, unless a thread is at work.
    package func begin() -> Bool { !isOrphaned && llk_lock_try(lock) == LLK_TAKEN }

    package func end() { llk_lock_release(lock) }

    package var isBusy: Bool { llk_lock_is_held(lock) }

    /// Whether a thread was at work that a fork of the process has left behind. What it worked on is half changed, for
    /// ever.
    package var isOrphaned: Bool { llk_lock_is_orphaned(lock) }
}
