import LLaDA
import TestSupport
import Testing

@Suite struct PageBudgetTests {
    @Test func aPageGivesBackWhatItTook() throws {
        let config = try Model(path: Fixture.folder("gqa_group")).config
        let budget = MemoryBudget(limit: 1 << 20)
        #expect(budget.used == 0 && budget.limit == 1 << 20)
        for dtype in [NumberFormat.f32, .bf16] {
            let size = Page.byteCount(blockLength: 8, config: config, dtype: dtype)
            budget.charge(2 * size)
            var pages = try (0..<2).map { _ in
                try Page(blockLength: 8, config: config, dtype: dtype, budget: budget)
            }
            #expect(budget.used == 2 * size && pages[0].bytes.count == size)
            let held = pages[0]  // by another sequence, say
            pages = []
            #expect(budget.used == size)
            withExtendedLifetime(held) {}
        }
        #expect(budget.used == 0)
    }

    /// Pages go wherever their last holder is.
    @Test func anyThreadMayGiveBack() throws {
        let config = try Model(path: Fixture.folder("gqa_group")).config
        let budget = MemoryBudget(limit: 1 << 30)
        let size = Page.byteCount(blockLength: 4, config: config, dtype: .f32)
        ThreadTeam(threads: 4).forEach(400) { _, _ in
            budget.charge(size)
            _ = try? Page(blockLength: 4, config: config, dtype: .f32, budget: budget)
        }
        #expect(budget.used == 0)
    }
}
