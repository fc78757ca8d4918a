import Kernels

/// The state of the thread that calls the library: rounding, flushing and traps of floating-point arithmetic, whether
/// it can be cancelled, and `errno`. The library neither depends on it nor changes it (host.h).
package enum HostThread {
    /// Runs the library's work with settings of its own. Calls may be nested: a callback may call the library.
    package static func enter<Result>(_ work: () -> Result) -> Result {
        let outer = llk_enter()
        defer { llk_leave(outer) }
        return work()
    }

    /// Runs a callback with the settings of the host, which it may change.
    package static func callBack<Result>(_ callback: () -> Result) -> Result {
        llk_host_begin()
        defer { llk_host_end() }
        return callback()
    }
}
