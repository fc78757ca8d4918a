import Glibc

/// How the library starts threads of its own.
enum OwnThread {
    /// The stack of a thread. The kernels need a few KB of it; the rest is for the thread-local memory of the process's
    /// libraries, which lies there, too.
    private static let stackSize = 1 << 20

    /// Starts a thread that calls `main` with an unbalanced reference to `state`, which `main` takes back. Returns
    /// false if the system refuses the thread.
    static func start(
        _ thread: UnsafeMutablePointer<pthread_t>, _ state: AnyObject,
        _ main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?
    ) -> Bool {
        // Signals belong to the host, so the thread blocks them all.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackSize)
        let own = Unmanaged.passRetained(state)
        if pthread_create(thread, &attributes, main, own.toOpaque()) == 0 { return true }
        own.release()
        return false
    }
}
