import LLaDA
import Testing

@Suite struct InPlaceTests {
    /// Orders that sorting by parts finds hard, and random ones.
    private var arrays: [[Int]] {
        var random = SystemRandomNumberGenerator()
        var arrays: [[Int]] = [
            [], [1], Array(0..<1000), Array((0..<1000).reversed()), Array(repeating: 7, count: 1000),
        ]
        arrays.append((0..<1000).map { $0 % 2 == 0 ? $0 : 1000 - $0 })  // an organ pipe, twice
        for count in [2, 3, 16, 17, 33, 100, 5000] {
            for most in [3, 1 << 40] {
                arrays.append((0..<count).map { _ in Int.random(in: 0...most, using: &random) })
            }
        }
        return arrays
    }

    @Test func sortingIsThatOfTheStandardLibrary() {
        for array in arrays {
            var sorted = array
            sorted.withUnsafeMutableBufferPointer { $0.sortInPlace(by: <) }
            #expect(sorted == array.sorted())
            sorted.withUnsafeMutableBufferPointer { $0.sortInPlace(by: >) }
            #expect(sorted == array.sorted(by: >))
        }
    }

    @Test func aHeapHoldsTheLargest() {
        for array in arrays where array.count >= 2 {
            for count in [1, 2, array.count] {
                var best = Array(array[..<count])
                best.withUnsafeMutableBufferPointer { heap in
                    heap.makeHeap(by: >)
                    for value in array[count...] where value > heap[0] { heap.replaceTop(by: value, >) }
                }
                #expect(best[0] == array.sorted(by: >)[count - 1])
                #expect(best.sorted(by: >) == Array(array.sorted(by: >)[..<count]))
            }
        }
    }

    @Test func aRefilledArrayKeepsItsMemory() throws {
        var array: [Int] = []
        try array.refill(3, with: 1, room: 100)
        let address = array.withUnsafeBufferPointer { $0.baseAddress }
        for count in [100, 0, 57] {
            try array.refill(count, with: count, room: 100)
            #expect(array == Array(repeating: count, count: count))
            #expect(array.withUnsafeBufferPointer { $0.baseAddress } == address)
        }
    }
}
