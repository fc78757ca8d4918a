import Glibc
import Kernels

/// A thread by which rank 0 tells the other ranks that it is there, also while it asks nothing of them: a rank that
/// hears nothing of it for its timeout ends. MPI has to allow calls of several threads at once.
final class Heartbeat: @unchecked Sendable {  // what threads share is under the lock, or used after the thread's end
    private let mpi: MPILibrary
    private let comm: MPILibrary.Handle
    private let interval: UInt64  // nanoseconds
    /// The order `beat`. It stays for ever, as a rank may never take it.
    private let message: UnsafeMutableRawBufferPointer
    /// The last beat to each rank.
    private var requests: [MPILibrary.Handle]  // [ranks]
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isEnding = false
    private var thread = pthread_t()

    /// Beats in the shortest timeout of a rank: a few may be late.
    private static let beats: UInt64 = 5

    /// Starts it. Throws `.outOfMemory` if the system has no thread left.
    init(
        _ mpi: MPILibrary, _ comm: MPILibrary.Handle, size: Int, leastTimeout: UInt64
    ) throws(LLaDAError) {
        self.mpi = mpi
        self.comm = comm
        interval = max(leastTimeout / Self.beats, 1_000_000)
        message = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLayout<Int64>.size, alignment: 8)
        message.storeBytes(of: Order.beat.rawValue, as: Int64.self)
        requests = Array(repeating: MPILibrary.nullRequest, count: size)
        pthread_mutex_init(lock, nil)
        var clock = pthread_condattr_t()
        pthread_condattr_init(&clock)
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &clock)
        pthread_condattr_destroy(&clock)
        let isStarted = OwnThread.start(&thread, self) { raw in
            if let raw { Unmanaged<Heartbeat>.fromOpaque(raw).takeRetainedValue().run() }
            return nil
        }
        if !isStarted {
            throw LLaDAError(.outOfMemory, "the system has no thread for the heartbeat of the cluster")
        }
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(lock)
        wake.deallocate()
        lock.deallocate()
    }

    /// Has the thread end, and does not wait for it: it may be in MPI, which may wait for a rank that is dead.
    func end() {
        if signal() { pthread_detach(thread) }
    }

    /// Ends the thread.
    func endAndWait() {
        if signal() { pthread_join(thread, nil) }
    }

    /// Returns whether this is the first call.
    private func signal() -> Bool {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        if isEnding { return false }
        isEnding = true
        pthread_cond_signal(wake)
        return true
    }

    /// Whether all beats have left, once the thread has ended and the other ranks have answered what came later.
    var hasArrived: Bool { requests.indices.allSatisfy { isDone($0) } }

    private func isDone(_ rank: Int) -> Bool {
        if requests[rank] == MPILibrary.nullRequest { return true }
        var ignored = 0
        return (try? mpi.isDone(&requests[rank], received: &ignored)) ?? false
    }

    private func run() {
        var next = MonotonicClock.now
        while true {
            // An error means a rank that is dead, which whoever needs it finds out.
            for rank in requests.indices.dropFirst() where isDone(rank) {
                let request = try? mpi.send(UnsafeRawBufferPointer(message), to: rank, tag: Subject.order, in: comm)
                requests[rank] = request ?? MPILibrary.nullRequest
            }
            next += interval
            var time = timespec(tv_sec: Int(next / 1_000_000_000), tv_nsec: Int(next % 1_000_000_000))
            pthread_mutex_lock(lock)
            while !isEnding, pthread_cond_timedwait(wake, lock, &time) == 0 {}
            let isOver = isEnding
            pthread_mutex_unlock(lock)
            if isOver { return }
            next = max(next, MonotonicClock.now - interval)  // a process that was stopped does not make up for it
        }
    }
}
