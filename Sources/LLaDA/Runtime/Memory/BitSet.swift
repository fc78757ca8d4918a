/// A set of numbers from 0 on. A copy shares the memory; `copy` makes another set.
package struct BitSet: @unchecked Sendable {  // its owner writes before it shares it, or under a lock
    package let count: Int
    private let words: Buffer<UInt64>

    /// Makes an empty set of numbers below `count`. Throws `.outOfMemory`.
    package init(count: Int) throws(LLaDAError) {
        self.count = count
        words = try Buffer(count: (count + 63) / 64, repeating: 0)
    }

    package subscript(number: Int) -> Bool {
        number >= 0 && number < count && words.pointer[number / 64] >> UInt64(number % 64) & 1 == 1
    }

    package func insert(_ number: Int) {
        if number >= 0, number < count { words.pointer[number / 64] |= 1 << UInt64(number % 64) }
    }

    package func copy() throws(LLaDAError) -> BitSet {
        let copy = try BitSet(count: count)
        copy.words.pointer.update(from: words.pointer, count: words.count)
        return copy
    }

    /// The numbers in the set, counted.
    package var members: Int { words.elements.reduce(0) { $0 + $1.nonzeroBitCount } }

    package var byteCount: Int { words.byteCount }
}
