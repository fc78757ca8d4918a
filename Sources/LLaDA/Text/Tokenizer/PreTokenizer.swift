/// Cuts text into the pieces that are merged each on its own: what `pre_tokenizer` describes.
struct PreTokenizer: Sendable {
    private var splits: [PreTokenizerPattern] = []
    private var addsPrefixSpace = false

    private static let maximumSplits = 16
    /// The longest pattern, in bytes. Those of published models have about a hundred.
    private static let maximumPattern = 1 << 16

    /// `null`, or a chain of `Split`s that ends in `ByteLevel`.
    init(_ field: JSONField) throws(LLaDAError) {
        var chain: [JSONField] = []
        try Self.flatten(field, into: &chain)
        for (place, step) in chain.enumerated() {
            let type = try step["type"].string()
            let isLast = place == chain.count - 1
            switch type {
            case "Split": try addSplit(step)
            case "ByteLevel" where isLast:
                addsPrefixSpace = try step["add_prefix_space"].bool()
                if try step["use_regex"].bool(default: true) {
                    splits.append(try PreTokenizerPattern(ByteLevel.pattern, file: step.file, key: step.key))
                    prefixStage = splits.count - 1
                } else {
                    prefixStage = splits.count
                }
            default: throw step["type"].unsupported("Split, or ByteLevel at the end")
            }
            if isLast, type != "ByteLevel" { throw step["type"].unsupported("ByteLevel at the end") }
        }
        if chain.isEmpty { throw field.unsupported("ByteLevel, or a Sequence that ends in it") }
    }

    /// The number of splits before the space is added.
    private var prefixStage = 0

    private static func flatten(_ field: JSONField, into chain: inout [JSONField]) throws(LLaDAError) {
        if field.isNull { return }
        if try field["type"].string() == "Sequence" {
            let list = field["pretokenizers"]
            for (index, value) in try list.array().enumerated() { try flatten(list[index, value], into: &chain) }
        } else if chain.count < maximumSplits {
            chain.append(field)
        } else {
            throw field.unsupported("at most \(maximumSplits) pre-tokenizers")
        }
    }

    private mutating func addSplit(_ field: JSONField) throws(LLaDAError) {
        guard try field["behavior"].string() == "Isolated" else { throw field["behavior"].unsupported("\"Isolated\"") }
        if try field["invert"].bool() { throw field["invert"].unsupported("false") }
        let pattern = field["pattern"]
        if !pattern["Regex"].isNull {
            let regex = pattern["Regex"]
            let room = try Reserve.Room(1024 * regex.string().count)  // the tree and the program
            defer { room.close() }
            splits.append(try PreTokenizerPattern(try Self.pattern(regex), file: regex.file, key: regex.key))
        } else {
            let text = pattern["String"]
            let room = try Reserve.Room(1024 * text.string().count)
            defer { room.close() }
            splits.append(try PreTokenizerPattern(literal: try Self.pattern(text), file: text.file, key: text.key))
        }
    }

    private static func pattern(_ field: JSONField) throws(LLaDAError) -> String {
        let text = try field.string()
        if text.count > maximumPattern { throw field.unsupported("a pattern of at most \(maximumPattern) bytes") }
        return text.string
    }

    /// Returns how many bytes `forEachPiece` may allocate for a text in large blocks: copies with a space before them,
    /// and what the patterns' matchers need.
    func memory(for byteCount: Int) -> Int {
        let code = splits.reduce(0) { $0 + $1.instructions.count }
        return 64 * code + (addsPrefixSpace ? 4 * byteCount : 0)
    }

    /// Calls `body` with every piece in order. `text` is valid UTF-8 and not empty.
    func forEachPiece(
        of text: UnsafeBufferPointer<UInt8>, _ table: ScalarTable, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) {
        cut(text, 0, table, body)
    }

    /// Recursion is as deep as the chain is long.
    private func cut(
        _ text: UnsafeBufferPointer<UInt8>, _ stage: Int, _ table: ScalarTable,
        _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) {
        if stage == prefixStage, addsPrefixSpace, text.first != 0x20 {
            // For every split that comes here, not only the first: so does Hugging Face.
            var spaced: [UInt8] = [0x20]
            spaced += text
            spaced.withUnsafeBufferPointer { split($0, stage, table, body) }
        } else {
            split(text, stage, table, body)
        }
    }

    private func split(
        _ text: UnsafeBufferPointer<UInt8>, _ stage: Int, _ table: ScalarTable,
        _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) {
        guard stage < splits.count else { return body(text) }
        PatternMatcher.forEachPiece(of: text, splits[stage], table) { range in
            let piece = UnsafeBufferPointer(rebasing: text[range])
            if stage + 1 < splits.count || prefixStage == stage + 1 {
                cut(piece, stage + 1, table, body)
            } else {
                body(piece)
            }
        }
    }
}
