import Glibc
import Kernels
import Synchronization

/// A team of threads that share the chunks of one loop at a time.
///
/// The caller takes part. Helpers wait for work by spinning briefly, then park. While the team serves one host thread,
/// the loops of other host threads run on their callers alone: nobody waits for the team. A chunk's result never
/// depends on the thread that computes it, so the results are the same. A process fork loses the helpers; the child's
/// first loop makes new ones, also if a thread of its parent was in a loop.
package final class ThreadTeam: @unchecked Sendable {
    /// The number of threads of the team, the caller included. Workers are numbered 0 ..< size.
    package let size: Int
    /// How many threads the system has refused.
    package let refused: Int

    /// The body of a loop. Arguments: chunk, worker.
    package typealias Body = (Int, Int) -> Void

    private let crew: Crew
    /// Whoever has it may use the crew.
    private let turn = UnsafeMutablePointer<llk_lock>.allocate(capacity: 1)

    /// Starts the threads, or as many as the system gives.
    package init(threads: Int) {
        turn.initialize(to: 0)
        let helpers = max(1, threads) - 1
        crew = Crew(helpers)
        size = 1 + crew.hire()
        refused = 1 + helpers - size
    }

    /// A team of so many threads that starts none: to learn what work would take without doing it.
    package init(measuring threads: Int) {
        turn.initialize(to: 0)
        crew = Crew(0)
        (size, refused) = (max(1, threads), 0)
    }

    deinit {
        crew.dismiss()
        turn.deallocate()
    }

    /// What the system has refused, as a sentence.
    package var notes: [String] {
        refused == 0 ? [] : ["the system refused \(refused) of \(size + refused) threads; the model has \(size)"]
    }

    /// The number of CPUs this process may run on, or those that its quota is worth, if they are fewer.
    package static var availableThreads: Int {
        min(max(1, llk_cpu_count()), CPUQuota().cpus ?? .max)
    }

    /// Runs `body` once for each chunk in 0 ..< count, in any order. Returns when all chunks are done.
    package func forEach(_ count: Int, _ body: Body) {
        guard count > 1, size > 1, llk_lock_try(turn) != LLK_BUSY else {
            for chunk in 0..<max(count, 0) { body(chunk, 0) }
            return
        }
        defer { llk_lock_release(turn) }
        crew.followFork()
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
    private let most: Int
    private let helpers: UnsafeMutablePointer<pthread_t>  // [most]
    private var hired = 0
    /// The process that the helpers live in.
    private var home = llk_process()

    init(_ most: Int) {
        self.most = most
        helpers = .allocate(capacity: most)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        lock.deallocate()
        wake.deallocate()
        helpers.deallocate()
    }

    private final class Assignment {
        let crew: Crew
        let worker: Int
        init(_ crew: Crew, _ worker: Int) {
            self.crew = crew
            self.worker = worker
        }
    }

    /// Begins anew in a child of a fork, which has neither the helpers nor a usable lock.
    func followFork() {
        let process = llk_process()
        if home == process { return }
        home = process
        hired = 0
        remaining.store(0, ordering: .relaxed)
        parked.store(0, ordering: .relaxed)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
        hire()
    }

    /// Starts the helpers, and returns how many there are. If the system refuses a thread, the work goes on with fewer.
    @discardableResult
    func hire() -> Int {
        while hired < most {
            let isStarted = OwnThread.start(helpers + hired, Assignment(self, hired + 1)) { raw in
                guard let raw else { return nil }
                let assignment = Unmanaged<Assignment>.fromOpaque(raw).takeRetainedValue()
                assignment.crew.serve(as: assignment.worker)
                return nil
            }
            if !isStarted { break }
            hired += 1
        }
        return hired
    }

    func dismiss() {
        guard home == llk_process() else { return }
        closing.store(true, ordering: .sequentiallyConsistent)
        generation.add(1, ordering: .sequentiallyConsistent)
        pthread_mutex_lock(lock)
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(lock)
        for index in 0..<hired { pthread_join(helpers[index], nil) }
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
            Self.spin(spins)
        }
        self.body = nil
    }

    /// Waits a moment. Now and then the thread that is waited for gets the processor: it may have no other.
    private static func spin(_ spins: Int) {
        if spins % 64 == 0 { sched_yield() } else { llk_relax() }
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
                Self.spin(spins)
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
