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
        // Copies of the text and its markup, in arrays that double.
        let bytes = parts.reduce(0) { $0 + $1.text.count }
        let room = try Reserve.Room(16 * bytes)
        defer { room.close() }
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
            var done = 0
            while let (marker, start, end) = markup.withUnsafeBufferPointer({ markers.next(in: $0, from: done) }) {
                if marker.stripsLeft || marker.stripsRight || marker.singleWord {
                    throw LLaDAError(
                        .unsupported, file: "tokenizer.json", key: "the added token \(marker.content.quoted)",
                        found: "with lstrip, rstrip or single_word", expected: "a marker that takes nothing but itself")
                }
                text += markup[done..<start]
                let found = try encode(text, reserved: markerIDs)
                try ids.makeRoom(for: found.count + 1)
                ids += found
                text = []
                ids.append(marker.id)
                done = end
            }
            text += markup[done...]
        }
        let found = try encode(text, reserved: markerIDs)
        try ids.makeRoom(for: found.count)
        ids += found
        return ids
    }
}
