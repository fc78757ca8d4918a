/// Operations on elements where they lie. Those of the standard library that do the same allocate.

extension Array {
    /// Becomes `count` equal elements. The array keeps its memory, which has room for at least `room` elements then.
    /// Throws `.outOfMemory`.
    package mutating func refill(_ count: Int, with element: Element, room: Int) throws(LLaDAError) {
        removeAll(keepingCapacity: true)
        try reserve(Swift.max(count, room))
        for _ in 0..<count { append(element) }
    }
}

extension UnsafeMutableBufferPointer {
    /// Sorts the elements by a total order. Equal elements may change places. (Quicksort; heapsort where it
    /// degenerates: Musser, Introspective sorting and selection algorithms, 1997.)
    package func sortInPlace(by isBefore: (Element, Element) -> Bool) {
        sort(0, count, depth: 2 * (Int.bitWidth - count.leadingZeroBitCount), isBefore)
    }

    private func sort(_ start: Int, _ end: Int, depth: Int, _ isBefore: (Element, Element) -> Bool) {
        var (start, end, depth) = (start, end, depth)
        while end - start > 16 {
            if depth == 0 { return UnsafeMutableBufferPointer(rebasing: self[start..<end]).heapsort(by: isBefore) }
            depth -= 1
            // The median of three is the pivot, and the other two bound the search.
            let middle = start + (end - start) / 2
            if isBefore(self[middle], self[start]) { swapAt(middle, start) }
            if isBefore(self[end - 1], self[start]) { swapAt(end - 1, start) }
            if isBefore(self[end - 1], self[middle]) { swapAt(end - 1, middle) }
            let pivot = self[middle]
            var (low, high) = (start, end - 1)
            while low <= high {
                while isBefore(self[low], pivot) { low += 1 }
                while isBefore(pivot, self[high]) { high -= 1 }
                if low <= high {
                    swapAt(low, high)
                    (low, high) = (low + 1, high - 1)
                }
            }
            if high + 1 - start < end - low {
                sort(start, high + 1, depth: depth, isBefore)
                start = low
            } else {
                sort(low, end, depth: depth, isBefore)
                end = high + 1
            }
        }
        guard start < end else { return }
        for next in start + 1..<end {
            let element = self[next]
            var place = next
            while place > start, isBefore(element, self[place - 1]) {
                self[place] = self[place - 1]
                place -= 1
            }
            self[place] = element
        }
    }

    private func heapsort(by isBefore: (Element, Element) -> Bool) {
        makeHeap(by: isBefore)
        for end in (1..<Swift.max(count, 1)).reversed() {
            swapAt(0, end)
            siftDown(0, end: end, isBefore)
        }
    }

    /// Makes a heap, which has at the top the element that comes last.
    package func makeHeap(by isBefore: (Element, Element) -> Bool) {
        for root in (0..<count / 2).reversed() { siftDown(root, end: count, isBefore) }
    }

    /// Replaces the element at the top of a heap.
    package func replaceTop(by element: Element, _ isBefore: (Element, Element) -> Bool) {
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
