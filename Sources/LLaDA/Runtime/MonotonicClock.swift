import Glibc

/// The time that passes, whatever becomes of the date.
enum MonotonicClock {
    /// In nanoseconds, from some beginning.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
