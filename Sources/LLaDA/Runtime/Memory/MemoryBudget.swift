import Synchronization

/// The bytes that something may take, and those that it takes: a model, or the pages of a prefix cache. Memory is taken
/// from a budget before it is asked of the system. Any thread may take and give back at any time.
package final class MemoryBudget: Sendable {
    /// `Int.max` if there is none.
    package let limit: Int
    private let taken = Atomic<Int>(0)
    private let givers = Locked<[WeakGiver]>([])

    private struct WeakGiver: Sendable {
        weak let giver: (any MemoryGiver)?
    }

    package init(limit: Int = .max) { self.limit = limit }

    /// The bytes that are taken.
    package var used: Int { taken.load(ordering: .relaxed) }

    /// Names somebody who is asked to give memory back when there is none left.
    package func add(_ giver: any MemoryGiver) {
        givers.withLock { givers in
            givers.removeAll { $0.giver == nil }
            givers.append(WeakGiver(giver: giver))
        }
    }

    private func isGivenMore() -> Bool {
        givers.withLock { $0.compactMap(\.giver) }.contains { $0.giveMemory() }
    }

    /// Takes bytes. Throws `.outOfMemory`, and takes none, if the limit does not leave as many.
    package func take(_ bytes: Int) throws(LLaDAError) {
        var before = used
        while true {
            if bytes > limit - before {
                guard isGivenMore() else { throw refusal(bytes, used: before) }
                before = used
                continue
            }
            let (isDone, now) = taken.weakCompareExchange(
                expected: before, desired: before + bytes, ordering: .relaxed)
            if isDone { return }
            before = now
        }
    }

    /// Throws `.outOfMemory` if the limit does not leave as many bytes.
    package func check(_ bytes: Int) throws(LLaDAError) {
        let used = used
        if bytes > limit - used { throw refusal(bytes, used: used) }
    }

    private func refusal(_ bytes: Int, used: Int) -> LLaDAError {
        LLaDAError(
            .outOfMemory, "memory_limit is \(limit) bytes, and \(used) of them are in use: no room for \(bytes) more")
    }

    /// Takes bytes that are known to be left.
    package func charge(_ bytes: Int) { taken.add(bytes, ordering: .relaxed) }

    package func giveBack(_ bytes: Int) { taken.subtract(bytes, ordering: .relaxed) }
}

extension MemoryBudget {
    /// What is made of a small file (a config, a tokenizer, a header) while it is read takes at most as many times its
    /// bytes, beside these.
    package static let smallFileMultiple = 3
}

/// Somebody who holds memory of a budget that others may need more. Any thread may ask, and holds none of the giver's
/// locks then.
package protocol MemoryGiver: AnyObject, Sendable {
    /// Gives some memory back. Returns false if there is none to give.
    func giveMemory() -> Bool
}

/// Bytes of a budget that are taken while this object lives, for memory that is not a `Buffer`.
package final class Reservation: Sendable {
    private let bytes: Int
    private let budget: MemoryBudget

    /// Throws `.outOfMemory`.
    package init(_ bytes: Int, in budget: MemoryBudget) throws(LLaDAError) {
        try budget.take(bytes)
        self.bytes = bytes
        self.budget = budget
    }

    deinit { budget.giveBack(bytes) }
}
