import Foundation
import LLaDA
import Synchronization
import Testing

@Suite struct ThreadTeamTests {
    /// How often each chunk ran, and the workers that ran.
    private func run(_ team: ThreadTeam, _ count: Int) -> (times: [Int], workers: Set<Int>) {
        let seen = Mutex<(times: [Int], workers: Set<Int>)>(([Int](repeating: 0, count: max(count, 0)), []))
        team.forEach(count) { chunk, worker in
            seen.withLock {
                $0.times[chunk] += 1
                $0.workers.insert(worker)
            }
        }
        return seen.withLock { $0 }
    }

    @Test(arguments: [1, 2, 3, 7]) func everyChunkRunsOnce(_ threads: Int) {
        let team = ThreadTeam(threads: threads)
        for count in [1, 2, 3, 64, 1001] {
            let (times, workers) = run(team, count)
            #expect(times.allSatisfy { $0 == 1 })
            #expect(workers.allSatisfy { 0..<threads ~= $0 })
        }
        for count in [0, -1] { #expect(run(team, count).workers.isEmpty) }
    }

    @Test func aTeamHasAtLeastItsCaller() {
        #expect(ThreadTeam(threads: 0).size == 1 && ThreadTeam(threads: -5).size == 1)
        #expect(ThreadTeam.availableThreads >= 1)
    }

    /// Loops so short that helpers come late to most of them.
    @Test func shortLoopsFollowOneAnother() {
        let team = ThreadTeam(threads: 4)
        let sum = Atomic<Int>(0)
        for _ in 0..<20_000 { team.forEach(3) { chunk, _ in sum.add(chunk, ordering: .relaxed) } }
        #expect(sum.load(ordering: .relaxed) == 20_000 * 3)
    }

    /// A worker's scratch memory is its own: no two chunks run on it at once.
    @Test func aWorkerDoesOneThingAtATime() {
        let team = ThreadTeam(threads: 4)
        let busy = Mutex([Bool](repeating: false, count: 4))
        let clashes = Atomic<Int>(0)
        team.forEach(400) { _, worker in
            let wasBusy = busy.withLock { all in
                defer { all[worker] = true }
                return all[worker]
            }
            if wasBusy { clashes.add(1, ordering: .relaxed) }
            usleep(50)
            busy.withLock { $0[worker] = false }
        }
        #expect(clashes.load(ordering: .relaxed) == 0)
    }

    /// Another host thread's loop does not wait for the one that has the helpers.
    @Test func aSecondCallerRunsAlone() {
        let team = ThreadTeam(threads: 3)
        let isDone = DispatchSemaphore(value: 0)
        let seen = Mutex<[Int]>([])
        let isStarted = Atomic<Bool>(false)
        team.forEach(3) { chunk, _ in
            guard isStarted.exchange(true, ordering: .relaxed) == false else { return }
            let other = Thread {
                team.forEach(5) { _, worker in seen.withLock { $0.append(worker) } }
                isDone.signal()
            }
            other.start()
            #expect(isDone.wait(timeout: .now() + 30) == .success)
        }
        #expect(seen.withLock { $0 } == [0, 0, 0, 0, 0])
    }

    /// The result of a loop whose chunks are sums in a fixed order of their own does not show how many threads ran it.
    @Test func threadsDoNotShow() {
        func sums(_ threads: Int) -> [UInt32] {
            let out = Mutex([Float](repeating: 0, count: 50))
            ThreadTeam(threads: threads).forEach(50) { chunk, _ in
                let sum = (1...1000).reduce(Float(0)) { $0 + 1 / Float($1 * (chunk + 1)) }
                out.withLock { $0[chunk] = sum }
            }
            return out.withLock { $0.map(\.bitPattern) }
        }
        #expect(sums(1) == sums(2) && sums(1) == sums(5))
    }
}
