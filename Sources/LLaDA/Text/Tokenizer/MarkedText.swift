/// A stretch of a text with markup: a rendered chat template, say.
package struct TextPart {
    package let text: [UInt8]
    /// Whether the stretch is markup, in which control tokens are meant; else somebody's content.
    package let isMarkup: Bool

    package static func markup(_ text: some Sequence<UInt8>) -> TextPart {
        TextPart(text: Array(text), isMarkup: true)
    }
    package static func markup(_ text: String) -> TextPart { .markup(text.utf8) }
    package static func content(_ text: some Sequence<UInt8>) -> TextPart {
        TextPart(text: Array(text), isMarkup: false)
    }
}

extension Tokenizer {
    /// Returns the ids of a text in parts: of the whole text, except that content never becomes a marker. A marker is a
    /// special token, or an added token that is written as a tag is, `<…>` or `[…]`, as `<think>` may be. Where no
    /// content has a part in the text of a marker, the ids are those of the text with control tokens interpreted.
    ///
    /// Throws `.unsupported` if the markup has a marker with `lstrip`, `rstrip` or `single_word`, which would depend on
    /// the content beside it, and `.invalidArgument` for a text of 2 GiB or more.
    package func encode(_ parts: [TextPart]) throws(LLaDAError) -> [Int32] {
        let markers = addedTokens.filter { $0.isSpecial || Self.isTag($0.content) }
        var reserved = specialIDs
        var begins = Array(repeating: false, count: 256)  // of a marker, by byte
        for marker in markers {
            reserved[Int(marker.id)] = true
            if let first = marker.content.first { begins[Int(first)] = true }
        }
        var ids: [Int32] = []
        // Text is cut only at markers: all else belongs to the text around it.
        var text: [UInt8] = []
        var place = 0
        while place < parts.count {
            if !parts[place].isMarkup {
                text += parts[place].text
                place += 1
                continue
            }
            var markup: [UInt8] = []
            while place < parts.count, parts[place].isMarkup {
                markup += parts[place].text
                place += 1
            }
            var rest = markup[...]
            while let first = rest.first {
                guard begins[Int(first)], let marker = Self.longest(of: markers, at: rest) else {
                    text.append(rest.removeFirst())
                    continue
                }
                if marker.stripsLeft || marker.stripsRight || marker.singleWord {
                    throw LLaDAError(
                        .unsupported, file: "tokenizer.json",
                        key: "the added token \(JSONString(marker.content).quoted)",
                        found: "with lstrip, rstrip or single_word", expected: "a marker that takes nothing but itself")
                }
                ids += try encode(text, reserved: reserved)
                text = []
                ids.append(marker.id)
                rest = rest.dropFirst(marker.content.count)
            }
        }
        return ids + (try encode(text, reserved: reserved))
    }

    private static func longest(of markers: [AddedToken], at text: ArraySlice<UInt8>) -> AddedToken? {
        var best: AddedToken?
        for marker in markers where marker.content.count > best?.content.count ?? 0 {
            if text.starts(with: marker.content) { best = marker }
        }
        return best
    }

    private static func isTag(_ text: [UInt8]) -> Bool {
        guard text.count > 2, let first = text.first, let last = text.last else { return false }
        return first == UInt8(ascii: "<") && last == UInt8(ascii: ">")
            || first == UInt8(ascii: "[") && last == UInt8(ascii: "]")
    }
}
