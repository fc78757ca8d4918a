/// A token that `added_tokens` lists: found in the text itself, before any merging.
package struct AddedToken: Sendable {
    package var id: Int32
    /// As the file has it.
    package var content: JSONString
    /// What is looked for in a text: the content, or its normal form.
    var matched: JSONString
    var singleWord: Bool
    var stripsLeft: Bool
    var stripsRight: Bool
    var isNormalized: Bool
    package var isSpecial: Bool
}

/// Finds added tokens in a text: at the leftmost place where one begins, the longest, as the Aho–Corasick automaton of
/// Hugging Face (`MatchKind::LeftmostLongest`). Texts of tokens are sorted, so those that begin alike are neighbours.
struct AddedTokenMatcher: @unchecked Sendable {  // it never changes
    private let tokens: [AddedToken]
    /// The tokens that are looked for, into `tokens`, by the order of their texts.
    private let order: Buffer<UInt32>
    /// The texts in this order, which the tokens keep.
    private let texts: Buffer<UnsafeBufferPointer<UInt8>>
    /// Where the texts begin that begin with a byte or a larger one, into `order`.
    private let firsts: Buffer<UInt32>  // [257]
    private let count: Int
    /// The first of the tokens whose text another one before it has; nil if there is none.
    let duplicate: Int?

    /// Takes those of `tokens` for which `text` returns one, which is not empty. Throws `.outOfMemory`.
    init(_ tokens: [AddedToken], text: (AddedToken) -> JSONString?) throws(LLaDAError) {
        self.tokens = tokens
        var count = 0
        for token in tokens where text(token) != nil { count += 1 }
        let order = try Buffer<UInt32>(count: count)
        let texts = try Buffer<UnsafeBufferPointer<UInt8>>(count: count)
        let firsts = try Buffer<UInt32>(count: 257, repeating: UInt32(count))
        var next = 0
        for (index, token) in tokens.enumerated() where text(token) != nil {
            order.pointer[next] = UInt32(index)
            next += 1
        }
        UnsafeMutableBufferPointer(start: order.pointer, count: count).sortInPlace { left, right in
            guard let first = text(tokens[Int(left)]), let second = text(tokens[Int(right)]) else { return false }
            return first.precedes(second) || left < right && !second.precedes(first)
        }
        var first = 0
        var duplicate: Int?
        for place in 0..<count {
            let index = Int(order.pointer[place])
            guard let bytes = text(tokens[index])?.withBytes({ $0 }) else { continue }
            while first <= Int(bytes.first ?? 0) {
                firsts.pointer[first] = UInt32(place)
                first += 1
            }
            texts.pointer[place] = bytes
            if place > 0, texts.pointer[place - 1].equals(bytes) { duplicate = min(duplicate ?? index, index) }
        }
        self.duplicate = duplicate
        self.count = count
        (self.order, self.texts, self.firsts) = (order, texts, firsts)
    }

    /// The bytes of memory.
    var byteCount: Int { order.byteCount + texts.byteCount + firsts.byteCount }

    var isEmpty: Bool { count == 0 }

    @inline(__always)
    private func text(_ place: Int) -> UnsafeBufferPointer<UInt8> { texts.pointer[place] }

    /// Cuts the text: `plain` gets what lies between tokens, `found` the tokens, in order. A match that `isText` says
    /// is text, or that should be a single word and is not, stays text as a whole; Hugging Face does not search inside
    /// it.
    func split(
        _ text: UnsafeBufferPointer<UInt8>, isText: (AddedToken) -> Bool,
        plain: (UnsafeBufferPointer<UInt8>) -> Void, found: (AddedToken) -> Void
    ) {
        var done = 0  // everything before has been handed out
        var position = 0
        while let (token, start, end) = next(in: text, from: position) {
            position = end
            if isText(token) { continue }
            if token.singleWord, Self.endsWithWord(text[..<start]) || Self.beginsWithWord(text[end...]) { continue }
            var (start, stop) = (start, end)
            if token.stripsLeft { start = max(Self.trimmedEnd(text, start), done) }
            if token.stripsRight { stop = Self.trimmedStart(text, stop) }
            // Spaces that the token before has stripped to its right may hold the beginning of this one.
            if done < start { plain(UnsafeBufferPointer(rebasing: text[done..<start])) }
            found(token)
            done = stop
        }
        if done < text.count { plain(UnsafeBufferPointer(rebasing: text[done...])) }
    }

    /// Returns the first token in the text from a place on, and where it begins and ends.
    func next(in text: UnsafeBufferPointer<UInt8>, from begin: Int) -> (AddedToken, Int, Int)? {
        if isEmpty { return nil }
        for start in begin..<max(begin, text.count) {
            // The texts that begin as the text does here, by more and more bytes.
            var low = Int(firsts.pointer[Int(text[start])])
            var high = Int(firsts.pointer[Int(text[start]) + 1])
            if low == high { continue }
            var best: (Int, Int)?
            var length = 1
            while true {
                // The shortest comes first.
                if self.text(low).count == length { best = (low, start + length) }
                guard start + length < text.count else { break }
                let byte = text[start + length]
                low = place(low, high) { $0.count > length && $0[length] >= byte }
                high = place(low, high) { $0[length] > byte }
                if low == high { break }
                length += 1
            }
            if let (place, end) = best { return (tokens[Int(order.pointer[place])], start, end) }
        }
        return nil
    }

    /// Returns the first place of a range whose text `isBehind`, of which all that follow are behind too.
    @inline(__always)
    private func place(_ start: Int, _ end: Int, _ isBehind: (UnsafeBufferPointer<UInt8>) -> Bool) -> Int {
        var (low, high) = (start, end)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(text(middle)) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    // MARK: Words and spaces, as Rust's `regex` has them

    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        switch ScalarTable.computed(scalar).category {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        case .unassigned: return false  // by Unicode 16, as in `ScalarTable`
        default: return properties.isAlphabetic || properties.isJoinControl
        }
    }

    private static func lastStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var start = end - 1
        while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }

    private static func scalar(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> (Unicode.Scalar, Int) {
        let (value, length) = UTF8Text.scalar(text, at: position)
        return (Unicode.Scalar(value) ?? "\u{FFFD}", length)
    }

    private static func endsWithWord(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard !text.isEmpty else { return false }
        let whole = UnsafeBufferPointer(rebasing: text)
        return isWord(scalar(whole, at: lastStart(whole, before: whole.count)).0)
    }

    private static func beginsWithWord(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
        guard !text.isEmpty else { return false }
        return isWord(scalar(UnsafeBufferPointer(rebasing: text), at: 0).0)
    }

    private static func trimmedEnd(_ text: UnsafeBufferPointer<UInt8>, _ end: Int) -> Int {
        var end = end
        while end > 0 {
            let start = lastStart(text, before: end)
            guard scalar(text, at: start).0.properties.isWhitespace else { break }
            end = start
        }
        return end
    }

    private static func trimmedStart(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        var start = start
        while start < text.count {
            let (scalar, length) = scalar(text, at: start)
            guard scalar.properties.isWhitespace else { break }
            start += length
        }
        return start
    }
}
