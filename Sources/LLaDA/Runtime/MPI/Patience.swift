import Glibc
import Kernels

/// Waiting for other processes: first at once, then without keeping a processor from those who need it.
struct Patience {
    private let start = MonotonicClock.now
    private var turns = 0

    private static let spins = 500
    /// Nanoseconds after which the thread sleeps between two looks, and after which it sleeps longer.
    private static let awake: UInt64 = 20_000_000
    private static let attentive: UInt64 = 1_000_000_000

    /// The nanoseconds since the waiting began, as of the last look at the clock.
    private(set) var waited: UInt64 = 0
    /// Whether the waiting has been long enough that the clock is looked at each time.
    var isLong: Bool { waited > Self.awake }

    /// Waits a moment.
    mutating func pause() {
        turns += 1
        if turns < Self.spins {
            llk_relax()
            return
        }
        if turns % 16 == 0 || isLong { waited = MonotonicClock.now - start }
        if waited < Self.awake {
            sched_yield()
        } else {
            var time = timespec(tv_sec: 0, tv_nsec: waited < Self.attentive ? 50_000 : 500_000)
            nanosleep(&time, nil)
        }
    }
}
