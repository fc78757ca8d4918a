/// A token that `added_tokens` lists: found in the text itself, before any merging.
package struct AddedToken: Sendable {
    package var id: Int32
    /// As the file has it.
    package var content: [UInt8]
    var singleWord: Bool
    var stripsLeft: Bool
    var stripsRight: Bool
    var isNormalized: Bool
    package var isSpecial: Bool
}

/// Finds added tokens in a text: at the leftmost place where one begins, the longest, as the Aho–Corasick automaton of
/// Hugging Face (`MatchKind::LeftmostLongest`).
struct AddedTokenMatcher: Sendable {
    private struct Node: Sendable {
        var token: Int32 = -1  // into `tokens`
        var children: [(byte: UInt8, node: Int32)] = []
    }
    private var nodes: [Node] = [Node()]
    private var begins = Array(repeating: false, count: 256)
    private var tokens: [AddedToken] = []

    var isEmpty: Bool { tokens.isEmpty }

    /// False when the same content is there already.
    mutating func insert(_ token: AddedToken, matching content: [UInt8]) -> Bool {
        guard let first = content.first else { return false }
        var place = 0
        for byte in content {
            if let child = nodes[place].children.first(where: { $0.byte == byte }) {
                place = Int(child.node)
            } else {
                nodes[place].children.append((byte, Int32(nodes.count)))
                place = nodes.count
                nodes.append(Node())
            }
        }
        guard nodes[place].token < 0 else { return false }
        nodes[place].token = Int32(tokens.count)
        tokens.append(token)
        begins[Int(first)] = true
        return true
    }

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

    private func next(in text: UnsafeBufferPointer<UInt8>, from begin: Int) -> (AddedToken, Int, Int)? {
        guard !tokens.isEmpty else { return nil }
        return begins.withUnsafeBufferPointer { begins in
            var start = begin
            while start < text.count {
                guard begins[Int(text[start])] else {
                    start += 1
                    continue
                }
                var best: (Int32, Int)?
                var place = 0
                var position = start
                walk: while position < text.count {
                    let byte = text[position]
                    for child in nodes[place].children where child.byte == byte {
                        place = Int(child.node)
                        position += 1
                        if nodes[place].token >= 0 { best = (nodes[place].token, position) }
                        continue walk
                    }
                    break
                }
                if let (token, end) = best { return (tokens[Int(token)], start, end) }
                start += 1
            }
            return nil
        }
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
