/// The `tokenizer.json` and `chat_template.jinja` that a GGUF file's metadata become (spec: gguf.md, section 3).
struct GGUFTokenizer {
    private let fields: GGUFFields

    init(_ file: GGUF) { fields = GGUFFields(file: file, prefix: "tokenizer.") }

    /// The names that llama.cpp has for the one pattern of the family.
    private static let patternNames: [JSONString] = ["bailingmoe", "bailingmoe2", "llada-moe"]
    private static let pattern =
        #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#

    /// The most bytes of the text, beside those of the file.
    private static let spareBytes = 1 << 20

    /// What `token_type` says of a token.
    private enum Kind: Int32, BitwiseCopyable {
        case normal = 1, control = 3, userDefined = 4, unused = 5
    }

    /// Returns the text of the template; nil without one.
    func chatTemplate(_ budget: MemoryBudget?) throws(LLaDAError) -> SharedBytes? {
        guard case .string(let place)? = fields.value("chat_template") else {
            _ = try fields.string("chat_template")
            return nil
        }
        return try SharedBytes(copying: fields.file.shared(place).bytes, in: budget)
    }

    /// Returns the text of the tokenizer; nil if the file has none. Throws `.tokenizer`, or `.unsupported` for another
    /// kind.
    func json(_ budget: MemoryBudget?) throws(LLaDAError) -> SharedBytes? {
        switch try fields.string("ggml.model") {
        case nil, "no_vocab"?, "none"?: return nil
        case "gpt2"?: break
        default: throw fields.error("ggml.model", expected: "\"gpt2\"", .unsupported)
        }
        guard let pre = try fields.string("ggml.pre"), Self.patternNames.contains(pre) else {
            throw fields.error("ggml.pre", expected: "\"bailingmoe2\" or a name of the same pattern", .unsupported)
        }
        let kinds = try kinds()
        let size = fields.file.file.size
        return try CountedText.make(in: budget) { (count) throws(LLaDAError) in
            // The text of a few bytes of the file may be long.
            if count > size + Self.spareBytes {
                throw fields.error(
                    "ggml.tokens",
                    expected: "tokens whose tokenizer.json is no longer than the file; it has \(count) bytes",
                    .tokenizer)
            }
        } _: { (text) throws(LLaDAError) in
            text.append(contentsOf: #"{"version": "1.0", "added_tokens": "#.utf8)
            try writeAdded(kinds, &text)
            text.append(contentsOf: #", "normalizer": {"type": "NFC"}, "pre_tokenizer": "#.utf8)
            text.append(
                contentsOf: #"{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "#.utf8)
            JSON.append(Self.pattern.utf8, to: &text)
            text.append(contentsOf: #"}, "behavior": "Isolated", "invert": false}, \#(Self.byteLevel)]}, "#.utf8)
            text.append(contentsOf: #""decoder": \#(Self.byteLevel), "model": {"type": "BPE", "vocab": "#.utf8)
            try writeVocabulary(kinds, &text)
            text.append(contentsOf: #", "merges": "#.utf8)
            try writeMerges(&text)
            text.append(contentsOf: "}}".utf8)
        }
    }

    private static let byteLevel =
        #"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}"#

    private struct Kinds {
        let tokens: (count: Int, place: Range<Int>)
        /// By id.
        let kinds: Buffer<Kind>
        /// Tokens of this id or a larger one are added ones that the vocabulary lacks.
        let vocabularyEnd: Int
    }

    private func kinds() throws(LLaDAError) -> Kinds {
        guard let tokens = try fields.array("ggml.tokens", of: .string) else {
            throw fields.error("ggml.tokens", expected: "an array of string", .tokenizer)
        }
        guard let types = try fields.array("ggml.token_type", of: .int32), types.count == tokens.count else {
            throw fields.error("ggml.token_type", expected: "an array of \(tokens.count) int32", .tokenizer)
        }
        let buffer = try Buffer<Kind>(count: tokens.count)
        for index in 0..<types.count {
            let type = fields.file.int32(types.place, at: index)
            guard let kind = Kind(rawValue: type) else {
                throw LLaDAError(
                    .unsupported, file: fields.file.name, key: "\(fields.prefix)ggml.token_type[\(index)]",
                    found: "\(type)", expected: "1 (normal), 3 (control), 4 (user-defined) or 5 (unused)")
            }
            buffer.pointer[index] = kind
        }
        let kinds = buffer.elements
        // Readers of tokenizer.json number added tokens on from the vocabulary. Where that gives other ids, because a
        // number is left out or an ordinary token follows, the vocabulary has the added tokens too.
        let end = (kinds.lastIndex(of: .normal) ?? -1) + 1
        let last = (kinds.lastIndex { $0 != .unused } ?? -1) + 1
        let isDense = !kinds[..<last].contains(.unused)
        return Kinds(tokens: tokens, kinds: buffer, vocabularyEnd: isDense ? end : last)
    }

    private func writeAdded(_ kinds: Kinds, _ bytes: inout CountedText) throws(LLaDAError) {
        bytes.append(UInt8(ascii: "["))
        var isFirst = true
        try fields.file.forEachString(kinds.tokens.place, count: kinds.tokens.count) {
            (id, token) throws(LLaDAError) in
            let kind = kinds.kinds.pointer[id]
            guard kind == .control || kind == .userDefined else { return }
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            bytes.append(contentsOf: "{\"id\": \(id), \"content\": ".utf8)
            JSON.append(token, to: &bytes)
            bytes.append(
                contentsOf: #", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "#.utf8)
            bytes.append(contentsOf: "\"special\": \(kind == .control)}".utf8)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private func writeVocabulary(_ kinds: Kinds, _ bytes: inout CountedText) throws(LLaDAError) {
        bytes.append(UInt8(ascii: "{"))
        var isFirst = true
        try fields.file.forEachString(kinds.tokens.place, count: kinds.vocabularyEnd) {
            (id, token) throws(LLaDAError) in
            if kinds.kinds.pointer[id] == .unused { return }
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            JSON.append(token, to: &bytes)
            bytes.append(contentsOf: ":\(id)".utf8)
        }
        bytes.append(UInt8(ascii: "}"))
    }

    private func writeMerges(_ bytes: inout CountedText) throws(LLaDAError) {
        guard let merges = try fields.array("ggml.merges", of: .string) else {
            throw fields.error("ggml.merges", expected: "an array of string", .tokenizer)
        }
        bytes.append(UInt8(ascii: "["))
        try fields.file.forEachString(merges.place, count: merges.count) { (index, merge) throws(LLaDAError) in
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            JSON.append(merge, to: &bytes)
        }
        bytes.append(UInt8(ascii: "]"))
    }
}
