/// Operations on elements where they lie. Those of the standard library that do the same allocate.

extension Array {
    /// Becomes `count` equal elements. The array keeps its memory, which has room for at least `room` elements then.
    mutating func refill(_ count: Int, with element: Element, room: Int) {
        removeAll(keepingCapacity: true)
        reserveCapacity(Swift.max(count, room))
        for _ in 0..<count { append(element) }
    }
}

extension UnsafeMutableBufferPointer {
    /// Sorts the elements (heapsort). Equal elements may change places.
    func sortInPlace(by isBefore: (Element, Element) -> Bool) {
        makeHeap(by: isBefore)
        for end in (1..<Swift.max(count, 1)).reversed() {
            swapAt(0, end)
            siftDown(0, end: end, isBefore)
        }
    }

    /// Makes a heap, which has at the top the element that comes last.
    func makeHeap(by isBefore: (Element, Element) -> Bool) {
        for root in (0..<count / 2).reversed() { siftDown(root, end: count, isBefore) }
    }

    /// Replaces the element at the top of a heap.
    func replaceTop(by element: Element, _ isBefore: (Element, Element) -> Bool) {
        self[0] = element
        siftDown(0, end: count, isBefore)
    }

    /// Lets an element of the heap sink below all that come after it.
    private func siftDown(_ start: Int, end: Int, _ isBefore: (Element, Element) -> Bool) {
        var root = start
        while 2 * root + 1 < end {
            var child = 2 * root + 1
            if child + 1 < end, isBefore(self[child], self[child + 1]) { child += 1 }
            if !isBefore(self[root], self[child]) { return }
            swapAt(root, child)
            root = child
        }
    }
}
