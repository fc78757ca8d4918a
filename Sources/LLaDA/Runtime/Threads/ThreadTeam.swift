import Glibc
import Kernels
import Synchronization

/// A team of threads that share the chunks of one loop at a time.
///
/// The caller takes part. Helpers wait for work by spinning briefly, then park. While the team serves one host thread,
/// the loops of other host threads run on their callers alone: nobody waits for the team. A chunk's result never
/// depends on the thread that computes it, so the results are the same. A process fork loses the helpers; the child's
/// first loop makes new ones.
package final class ThreadTeam: @unchecked Sendable {
    /// The number of threads of the team, the caller included. Workers are numbered 0 ..< size.
    package let size: Int

    /// The body of a loop. Arguments: chunk, worker.
    package typealias Body = (Int, Int) -> Void

    private let crew: Crew
    private let turn: UnsafeMutablePointer<pthread_mutex_t>

    package init(threads: Int) {
        size = max(1, threads)
        crew = Crew()
        turn = .allocate(capacity: 1)
        pthread_mutex_init(turn, nil)
    }

    deinit {
        crew.dismiss()
        pthread_mutex_destroy(turn)
        turn.deallocate()
    }

    /// The number of CPUs this process may run on, or those that its quota is worth, if they are fewer.
    package static var availableThreads: Int {
        min(max(1, llk_cpu_count()), CPUQuota().cpus ?? .max)
    }

    /// Runs `body` once for each chunk in 0 ..< count, in any order. Returns when all chunks are done.
    package func forEach(_ count: Int, _ body: Body) {
        guard count > 1, size > 1, pthread_mutex_trylock(turn) == 0 else {
            for chunk in 0..<max(count, 0) { body(chunk, 0) }
            return
        }
        defer { pthread_mutex_unlock(turn) }
        crew.hire(size - 1)
        lend(body) { code, context in crew.run(count, LentBody(code: code, context: context)) }
    }
}

/// Calls `use` with the addresses of a closure, which are valid until it returns (closure.h). `withoutActuallyEscaping`
/// would copy the closure to the heap, once for every loop.
@_silgen_name("llk_lend")
private func lend(_ body: ThreadTeam.Body, _ use: (_ code: UnsafeRawPointer, _ context: UnsafeRawPointer?) -> Void)

/// The body of the current loop, as all threads call it.
private struct LentBody {
    let code: UnsafeRawPointer
    let context: UnsafeRawPointer?

    func callAsFunction(_ chunk: Int, _ worker: Int) { llk_call_closure(code, context, chunk, worker) }
}

/// The state that the team's threads share. Each helper holds a reference to it.
private final class Crew: @unchecked Sendable {
    /// The chunks of the current loop that no thread has taken. A thread takes one by subtracting 1 from a positive
    /// number. A helper that comes late finds none, or one of the next loop, whose body was published before.
    private let remaining = Atomic<Int>(0)
    private let unfinished = Atomic<Int>(0)
    private let generation = Atomic<Int>(0)
    private let parked = Atomic<Int>(0)
    private let closing = Atomic<Bool>(false)
    private var body: LentBody?

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var helpers: [pthread_t] = []
    private var home: pid_t = getpid()

    init() {
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        lock.deallocate()
        wake.deallocate()
    }

    private final class Assignment {
        let crew: Crew
        let worker: Int
        init(_ crew: Crew, _ worker: Int) {
            self.crew = crew
            self.worker = worker
        }
    }

    /// Starts helpers until this process has `count` of them. If the system refuses a thread, the work goes on with
    /// fewer.
    func hire(_ count: Int) {
        if home != getpid() {  // after a fork: the child has neither the helpers nor a usable lock
            home = getpid()
            helpers = []
            parked.store(0, ordering: .relaxed)
            pthread_mutex_init(lock, nil)
            pthread_cond_init(wake, nil)
        }
        guard helpers.count < count else { return }
        // Signals belong to the host, so helpers block them all.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, &before)
        while helpers.count < count {
            let assignment = Unmanaged.passRetained(Assignment(self, helpers.count + 1))
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { raw in
                    guard let raw else { return nil }
                    let assignment = Unmanaged<Assignment>.fromOpaque(raw).takeRetainedValue()
                    assignment.crew.serve(as: assignment.worker)
                    return nil
                }, assignment.toOpaque())
            guard status == 0 else {
                assignment.release()
                break
            }
            helpers.append(thread)
        }
        pthread_sigmask(SIG_SETMASK, &before, nil)
    }

    func dismiss() {
        guard home == getpid() else { return }
        closing.store(true, ordering: .sequentiallyConsistent)
        generation.add(1, ordering: .sequentiallyConsistent)
        pthread_mutex_lock(lock)
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(lock)
        for helper in helpers { pthread_join(helper, nil) }
    }

    func run(_ count: Int, _ body: LentBody) {
        self.body = body
        unfinished.store(count, ordering: .relaxed)
        remaining.store(count, ordering: .releasing)
        generation.add(1, ordering: .sequentiallyConsistent)
        if parked.load(ordering: .sequentiallyConsistent) > 0 {
            pthread_mutex_lock(lock)
            pthread_cond_broadcast(wake)
            pthread_mutex_unlock(lock)
        }
        takeChunks(as: 0)
        // The loop ends when all chunks are done: a helper that never woke up does not delay it.
        var spins = 0
        while unfinished.load(ordering: .acquiring) > 0 {
            spins += 1
            if spins < 4000 { llk_relax() } else { sched_yield() }
        }
        self.body = nil
    }

    private func takeChunks(as worker: Int) {
        while remaining.load(ordering: .relaxed) > 0 {
            let ticket = remaining.subtract(1, ordering: .acquiringAndReleasing).oldValue
            guard ticket > 0 else { return }
            body?(ticket - 1, worker)
            unfinished.subtract(1, ordering: .releasing)
        }
    }

    private func serve(as worker: Int) {
        llk_standard_floats()  // a thread begins with what its maker has set
        var seen = 0
        while true {
            var spins = 0
            while generation.load(ordering: .acquiring) == seen, spins < 4000 {
                spins += 1
                llk_relax()
            }
            if generation.load(ordering: .acquiring) == seen {
                pthread_mutex_lock(lock)
                parked.add(1, ordering: .sequentiallyConsistent)
                while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(wake, lock) }
                parked.subtract(1, ordering: .sequentiallyConsistent)
                pthread_mutex_unlock(lock)
            }
            seen = generation.load(ordering: .acquiring)
            if closing.load(ordering: .acquiring) { return }
            takeChunks(as: worker)
        }
    }
}
