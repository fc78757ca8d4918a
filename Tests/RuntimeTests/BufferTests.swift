import LLaDA
import TestSupport
import Testing

@Suite struct BufferTests {
    @Test(arguments: [Int.max, Int.max / 4 + 1, Int.max / 8, Int.min, -1]) func noSuchMemoryIsAnError(_ count: Int) {
        expectRefusal(.outOfMemory, ["\(count) elements of 8 bytes"]) { _ = try Buffer<UInt64>(count: count) }
    }

    /// Small ones begin at a line of the cache, large ones at a huge page; all of both may be written.
    @Test(arguments: [0, 1, 7, 1000, 1 << 19, (1 << 19) + 3]) func memoryIsAligned(_ count: Int) throws {
        let buffer = try Buffer<Float>(count: count)
        #expect(buffer.count == count && buffer.byteCount == 4 * count)
        let alignment = buffer.byteCount < HugePages.pageSize ? 64 : HugePages.pageSize
        #expect(Int(bitPattern: buffer.pointer) % alignment == 0)
        buffer.pointer.initialize(repeating: 1, count: count)
        if count > 0 { #expect(buffer.pointer[0] + buffer.pointer[count - 1] == 2) }
    }

    @Test func scratchGrowsAndStays() throws {
        var scratch = Scratch<Int32>()
        let first = try scratch.reserve(1000)
        #expect(try scratch.reserve(1000) == first && scratch.reserve(10) == first)
        let large = try scratch.reserve(1 << 20)
        #expect(try scratch.reserve(1000) == large)
        expectRefusal(.outOfMemory, []) { _ = try scratch.reserve(.max) }
        // A refusal leaves it usable.
        try scratch.reserve(10).initialize(repeating: 5, count: 10)
    }
}
