/// A chat template's text, reduced to what it means to Jinja as Hugging Face sets it up (`trim_blocks` and
/// `lstrip_blocks`): white space that Jinja ignores, and comments, are gone; white space in strings, and white space
/// that is output, stays. Two templates with one reduced text render every conversation alike.
///
/// The text is cut into tokens and never run.
struct JinjaText {
    /// Zero and a token for each token within tags, one and the text for text between tags; nil for a text that this
    /// reader does not understand, `{% raw %}` and tags without an end included.
    let reduced: [UInt8]?

    init(_ text: String) {
        var reader = Reader(text)
        reduced = reader.reduced()
    }

    /// The checksum of the reduced text.
    var fingerprint: UInt64? { reduced.map { bytes in bytes.withUnsafeBytes { Checksum.of($0) } } }

    private struct Reader {
        private let text: [UInt8]
        private var position = 0
        private var result: [UInt8] = []
        /// Output that is not in `result` yet.
        private var output: [UInt8] = []

        init(_ text: String) {
            // Jinja makes every end of a line a line feed, and drops one at the end of the text.
            var lines: [UInt8] = []
            var carriage = false
            for byte in text.utf8 {
                if byte == 0x0A, carriage { lines.removeLast() }
                carriage = byte == 0x0D
                lines.append(carriage ? 0x0A : byte)
            }
            if lines.last == 0x0A { lines.removeLast() }
            self.text = lines
        }

        mutating func reduced() -> [UInt8]? {
            var startsLine = true
            while position < text.count {
                guard let open = nextTag() else {
                    output += text[position...]
                    break
                }
                guard let startsNext = tag(at: open, startsLine: startsLine) else { return nil }
                startsLine = startsNext
            }
            flush()
            return result
        }

        private func nextTag() -> Int? {
            var place = position
            while place + 1 < text.count {
                if text[place] == UInt8(ascii: "{"), "{%#".utf8.contains(text[place + 1]) { return place }
                place += 1
            }
            return nil
        }

        /// Takes the output before a tag, the tag, and the white space that it takes with it. Returns whether a line
        /// begins behind it; nil if the tag is not understood.
        private mutating func tag(at open: Int, startsLine: Bool) -> Bool? {
            let kind = text[open + 1]
            var before = text[position..<open]
            position = open + 2
            let sign = position < text.count ? text[position] : 0
            if sign == UInt8(ascii: "-") {
                while let last = before.last, Self.isSpace(last) { before.removeLast() }
            } else if sign != UInt8(ascii: "+"), kind != UInt8(ascii: "{") {
                // lstrip_blocks: blanks before a block that is the first on its line.
                let line = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? before.startIndex
                if line > before.startIndex || startsLine, before[line...].allSatisfy({ Self.isSpace($0) }) {
                    before = before[..<line]
                }
            }
            output += before
            if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { position += 1 }
            return kind == UInt8(ascii: "#") ? comment() : tokens(closing: kind == UInt8(ascii: "{") ? "}" : "%", kind)
        }

        private mutating func comment() -> Bool? {
            while position + 1 < text.count {
                if text[position] == UInt8(ascii: "#"), text[position + 1] == UInt8(ascii: "}") {
                    let sign = text[position - 1]
                    position += 2
                    return end(sign, isBlock: true)
                }
                position += 1
            }
            return nil
        }

        private mutating func tokens(closing: Unicode.Scalar, _ kind: UInt8) -> Bool? {
            flush()
            result += [0, UInt8(ascii: "{"), kind]
            var depth = 0  // of brackets: "}}" may end two dictionaries
            var isFirst = true
            while position < text.count {
                let byte = text[position]
                if Self.isSpace(byte) {
                    position += 1
                    continue
                }
                let sign = byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") ? byte : 0
                let close = sign == 0 ? position : position + 1
                if depth == 0, close + 1 < text.count, text[close] == UInt8(ascii: closing),
                    text[close + 1] == UInt8(ascii: "}")
                {
                    position = close + 2
                    result += [0, UInt8(ascii: closing), UInt8(ascii: "}")]
                    return end(sign, isBlock: closing == "%")
                }
                guard let token = token() else { return nil }
                if isFirst, closing == "%", token.elementsEqual("raw".utf8) { return nil }
                isFirst = false
                if let only = token.first, token.count == 1 {
                    if "([{".utf8.contains(only) { depth += 1 }
                    if ")]}".utf8.contains(only) { depth -= 1 }
                }
                result.append(0)
                result += token
            }
            return nil
        }

        /// Takes a string with its quotes, a word or number, an operator of two characters, or a character.
        private mutating func token() -> ArraySlice<UInt8>? {
            let start = position
            let first = text[start]
            if first == UInt8(ascii: "'") || first == UInt8(ascii: "\"") {
                position += 1
                while position < text.count, text[position] != first {
                    position += text[position] == UInt8(ascii: "\\") ? 2 : 1
                }
                if position >= text.count { return nil }
                position += 1
            } else if Self.isWord(first) {
                while position < text.count, Self.isWord(text[position]) { position += 1 }
            } else {
                let pair = text[start..<min(start + 2, text.count)]
                let isPair = ["==", "!=", "<=", ">=", "//", "**"].contains { pair.elementsEqual($0.utf8) }
                position += isPair ? 2 : 1
            }
            return text[start..<position]
        }

        /// Takes the white space behind a tag: all of it after a minus, and one line feed after a block (trim_blocks).
        private mutating func end(_ sign: UInt8, isBlock: Bool) -> Bool {
            let start = position
            if sign == UInt8(ascii: "-") {
                while position < text.count, Self.isSpace(text[position]) { position += 1 }
            } else if sign != UInt8(ascii: "+"), isBlock, position < text.count, text[position] == 0x0A {
                position += 1
            }
            return position > start && text[position - 1] == 0x0A
        }

        private mutating func flush() {
            if output.isEmpty { return }
            result.append(1)
            result += output
            output = []
        }

        private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0D ~= byte }

        private static func isWord(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
                true
            default: false
            }
        }
    }
}
