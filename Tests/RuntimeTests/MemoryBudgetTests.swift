import LLaDA
import TestSupport
import Testing

@Suite struct MemoryBudgetTests {
    @Test func whatIsTakenIsGivenBack() throws {
        let budget = MemoryBudget(limit: 1000)
        var buffer: Buffer<UInt32>? = try Buffer(count: 200, in: budget)
        #expect(budget.used == 800 && buffer?.byteCount == 800)
        expectRefusal(.outOfMemory, ["memory_limit is 1000 bytes, and 800 of them are in use: no room for 201 more"]) {
            _ = try Buffer<UInt8>(count: 201, in: budget)
        }
        #expect(budget.used == 800)
        let rest = try Reservation(200, in: budget)
        expectRefusal(.outOfMemory, ["no room for 1 more"]) { try budget.check(1) }
        withExtendedLifetime(rest) {}
        buffer = nil
        #expect(budget.used <= 200)
        // A size that no memory has.
        #expect(throws: LLaDAError.self) { _ = try Buffer<UInt64>(count: .max, in: MemoryBudget()) }
    }

    @Test func scratchGivesBackBeforeItTakesMore() throws {
        let budget = MemoryBudget(limit: 100)
        var scratch = Scratch<UInt8>(in: budget)
        _ = try scratch.reserve(60)
        _ = try scratch.reserve(90)
        #expect(budget.used == 90)
        expectRefusal(.outOfMemory, ["no room for 101"]) { _ = try scratch.reserve(101) }
        _ = try scratch.reserve(100)
        #expect(budget.used == 100)
    }

    /// Whatever threads do at once, the limit holds, and nothing is lost.
    @Test func threadsTakeNoMoreThanThereIs() {
        let budget = MemoryBudget(limit: 10)
        ThreadTeam(threads: 4).forEach(4000) { index, _ in
            guard let some = try? Reservation(1 + index % 5, in: budget) else { return }
            #expect(budget.used <= 10)
            withExtendedLifetime(some) {}
        }
        #expect(budget.used == 0)
    }
}
