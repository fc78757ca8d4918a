import Glibc
import Kernels
import Synchronization
import Testing

@testable import LLaDA

/// The reserve itself. That the library lives from it is what Tests/oom is about. The tests share it, so they run one
/// after another.
@Suite(.serialized)
struct ReserveTests {
    /// Blocks of each size are there, apart from each other, aligned, and are there again when they are given back.
    @Test func blocks() throws {
        let before = llk_reserve_in_use()
        for size in [1, 64, 65, 256, 1000, 4096, 5000, 16384, 60000, Int(LLK_RESERVE_LARGEST)] {
            var blocks: [UnsafeMutableRawPointer] = []
            while blocks.count < 20, let block = llk_reserve_take(size, 16) {
                #expect(llk_reserve_owns(block) && llk_reserve_size(block) >= size)
                #expect(UInt(bitPattern: block) % 16 == 0)
                memset(block, Int32(blocks.count), size)
                blocks.append(block)
            }
            #expect(blocks.count >= 8)
            for (number, block) in blocks.enumerated() {
                let bytes = UnsafeRawBufferPointer(start: block, count: size)
                #expect(bytes.allSatisfy { Int($0) == number })
                llk_reserve_give_back(block)
            }
        }
        #expect(llk_reserve_in_use() == before)
        #expect(llk_reserve_take(Int(LLK_RESERVE_LARGEST) + 1, 16) == nil)
        for alignment in [64, 4096] {
            let block = try #require(llk_reserve_take(100, alignment))
            #expect(UInt(bitPattern: block) % UInt(alignment) == 0)
            llk_reserve_give_back(block)
        }
        let outside = try #require(malloc(10))
        #expect(!llk_reserve_owns(outside))
        free(outside)
    }

    /// A block marks its thread until the call ends; a call within a call leaves the outer one's mark.
    @Test func marks() throws {
        let outer = llk_reserve_enter()
        #expect(!llk_reserve_is_drawn())
        let block = try #require(llk_reserve_take(10, 16))
        #expect(llk_reserve_is_drawn())
        #expect(throws: Reserve.exhausted) { try Reserve.check() }
        let inner = llk_reserve_enter()
        #expect(!llk_reserve_is_drawn())
        llk_reserve_leave(inner)
        #expect(llk_reserve_is_drawn())
        llk_reserve_give_back(block)
        llk_reserve_leave(outer)
        _ = llk_reserve_enter()
    }

    /// What is larger than any block comes from a room, the inner one first, and may outlive it.
    @Test func rooms() throws {
        let before = llk_reserve_in_use()
        let large = 1 << 20
        #expect(llk_reserve_take(large, 16) == nil)
        let room = try #require(llk_room_open(3 * large))
        let inner = try #require(llk_room_open(large))
        let blocks = try (0..<4).map { _ in try #require(llk_reserve_take(large, 64)) }
        #expect(llk_reserve_take(large, 64) == nil)
        llk_room_close(inner)
        llk_room_close(room)
        #expect(llk_reserve_take(large, 64) == nil)
        for block in blocks {
            #expect(llk_reserve_owns(block) && llk_reserve_size(block) == large)
            memset(block, 1, large)
        }
        for block in blocks { llk_reserve_give_back(block) }
        for block in blocks { #expect(!llk_reserve_owns(block)) }
        #expect(llk_reserve_in_use() == before)
        #expect(llk_room_open(.max) == nil && llk_room_open(1 << 62) == nil)
        #expect(throws: Reserve.exhausted) { try Reserve.withRoom(1 << 60) {} }
        _ = llk_reserve_enter()
    }

    /// Threads that take and give back at once get blocks of their own, and none is lost.
    @Test func threads() {
        let before = llk_reserve_in_use()
        let mixed = Atomic<Int>(0)
        let team = ThreadTeam(threads: 4)
        team.forEach(64) { chunk, _ in
            let room = llk_room_open(1 << 17)
            for turn in 0..<200 {
                let size = [40, 200, 900, 4000, 70000][turn % 5]
                guard let block = llk_reserve_take(size, 16) else { continue }
                memset(block, Int32(chunk), size)
                sched_yield()
                let bytes = UnsafeRawBufferPointer(start: block, count: size)
                if !bytes.allSatisfy({ Int($0) == chunk }) { mixed.add(1, ordering: .relaxed) }
                llk_reserve_give_back(block)
            }
            if let room { llk_room_close(room) }
            _ = llk_reserve_enter()
        }
        #expect(mixed.load(ordering: .relaxed) == 0)
        #expect(llk_reserve_in_use() == before)
        #expect(llk_reserve_admits())
    }
}
