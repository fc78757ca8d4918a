/// `tokenizer.json`, checked and ready for use.
struct TokenizerParts: Sendable {
    private(set) var addedTokens: [AddedToken] = []
    private(set) var addedIDs: [JSONString: Int32] = [:]
    /// By id, as long as the vocabulary: whether it has a token, and whether that is special.
    private(set) var exists: [Bool] = []
    private(set) var special: [Bool] = []
    /// What each id stands for, in bytes.
    let tokens: TokenBytes
    /// With `ignore_merges`: the tokens that a whole piece may be.
    let wholePieces: TokenBytes?
    let bpe: BPE
    let nfc: NFC?
    let preTokenizer: PreTokenizer
    let scalars: ScalarTable
    private(set) var rawTokens = AddedTokenMatcher()
    private(set) var normalizedTokens = AddedTokenMatcher()

    static let idLimit = 1 << 24

    init(_ root: JSONField) throws(LLaDAError) {
        _ = try root.object()
        if !root["version"].isNull, try root["version"].string() != "1.0" {
            throw root["version"].unsupported("\"1.0\"")
        }
        let needsNFC = try Self.needsNFC(root["normalizer"])
        preTokenizer = try PreTokenizer(root["pre_tokenizer"])
        try Self.checkPostProcessor(root["post_processor"])
        try Self.checkDecoder(root["decoder"])

        let model = root["model"]
        try Self.checkModel(model)
        let vocabulary = try Vocabulary(model["vocab"])
        let byteIDs = try vocabulary.byteIDs(model["vocab"])
        var contents = vocabulary.contents
        let added = try Self.addedTokens(root["added_tokens"], vocabulary, &contents)
        // The tables take longer to make than a small file to read: they come when it is known to be a good one.
        let nfc = needsNFC ? NFC() : nil
        self.nfc = nfc
        exists = contents.map { $0 != nil }
        special = Array(repeating: false, count: contents.count)

        // Decoding: a token stands for the bytes its characters stand for, or, when one of them is outside the byte
        // alphabet, for its own UTF-8. An added token is its own text, after normalization.
        var spelled = contents
        for (place, token) in added.enumerated() {
            let field = root["added_tokens"]
            let normal = token.isNormalized ? token.content.withUnsafeBufferPointer { nfc?.normalized($0) } : nil
            if token.isSpecial { special[Int(token.id)] = true }
            if token.isSpecial, normal != nil {
                // Hugging Face would not recognise it as special when decoding.
                throw LLaDAError(
                    .unsupported, file: root.file, key: "\(field.key)[\(place)].content",
                    found: JSONString(token.content).quoted, expected: "a special token in normalization form C")
            }
            spelled[Int(token.id)] = normal ?? token.content
            let isNew =
                token.isNormalized
                ? normalizedTokens.insert(token, matching: normal ?? token.content)
                : rawTokens.insert(token, matching: token.content)
            if !isNew {
                throw LLaDAError(
                    .tokenizer, file: root.file, key: "\(field.key)[\(place)].content",
                    found: JSONString(token.content).quoted, expected: "a content that no other added token has")
            }
            addedIDs[JSONString(token.content)] = token.id
        }
        addedTokens = added
        var isAdded = Array(repeating: false, count: spelled.count)
        for token in added { isAdded[Int(token.id)] = true }
        tokens = TokenBytes(inByteAlphabet: spelled, except: isAdded)
        if try model["ignore_merges"].bool(default: false) {
            wholePieces = TokenBytes(vocabulary.contents.map { content in content.flatMap { ByteLevel.bytes(of: $0) } })
        } else {
            wholePieces = nil
        }

        for (byte, id) in byteIDs.enumerated() where special[Int(id)] {
            throw LLaDAError(
                .tokenizer, file: root.file, key: "added_tokens", found: "a special token with id \(id)",
                expected: "an id that is not that of byte \(byte), which text cannot do without")
        }
        bpe = BPE(try vocabulary.merges(model["merges"]), byteIDs: byteIDs)
        scalars = ScalarTable()
    }

    // MARK: What must be as expected

    /// `null`, `NFC`, or a `Sequence` of them.
    private static func needsNFC(_ field: JSONField) throws(LLaDAError) -> Bool {
        if field.isNull { return false }
        switch try field["type"].string() {
        case "NFC": return true
        case "Sequence":
            let list = field["normalizers"]
            var needed = false
            for (index, value) in try list.array().enumerated() {
                if try needsNFC(list[index, value]) { needed = true }
            }
            return needed
        default: throw field["type"].unsupported("NFC, or a Sequence of NFC")
        }
    }

    /// Post-processors add special tokens, which `add_special_tokens=False` leaves out, and move offsets: any that is
    /// known will do, and has no effect.
    private static func checkPostProcessor(_ field: JSONField) throws(LLaDAError) {
        if field.isNull { return }
        switch try field["type"].string() {
        case "ByteLevel", "TemplateProcessing": return
        case "Sequence":
            let list = field["processors"]
            for (index, value) in try list.array().enumerated() { try checkPostProcessor(list[index, value]) }
        default: throw field["type"].unsupported("ByteLevel, TemplateProcessing, or a Sequence of them")
        }
    }

    private static func checkDecoder(_ field: JSONField) throws(LLaDAError) {
        if field.isNull { throw field.unsupported("ByteLevel") }
        switch try field["type"].string() {
        case "ByteLevel": return
        case "Sequence":
            let list = field["decoders"]
            var found = false
            for (index, value) in try list.array().enumerated() {
                let step = list[index, value]
                switch try step["type"].string() {
                case "ByteLevel" where !found: found = true
                case "Fuse" where found: break  // joins what ByteLevel has joined already
                default: throw step["type"].unsupported("ByteLevel, once, and Fuse after it")
                }
            }
            if !found { throw list.unsupported("a Sequence with ByteLevel") }
        default: throw field["type"].unsupported("ByteLevel, or a Sequence with it")
        }
    }

    private static func checkModel(_ model: JSONField) throws(LLaDAError) {
        _ = try model.object()
        // Early files have no type; then vocab and merges tell, and are required below.
        if !model["type"].isNull, try model["type"].string() != "BPE" { throw model["type"].unsupported("\"BPE\"") }
        switch model["dropout"].value {
        case .null, .integer(0), .double(0): break
        default: throw model["dropout"].unsupported("null")
        }
        for field in [model["continuing_subword_prefix"], model["end_of_word_suffix"]] where !field.isNull {
            if try !field.string().bytes.isEmpty { throw field.unsupported("null or \"\"") }
        }
        if try model["byte_fallback"].bool(default: false) { throw model["byte_fallback"].unsupported("false") }
        // Every byte has a token, so nothing is ever unknown: these two have no effect.
        if !model["unk_token"].isNull { _ = try model["unk_token"].string() }
        _ = try model["fuse_unk"].bool(default: false)
    }

    // MARK: Added tokens

    /// Reads them, and puts their contents into `contents`.
    private static func addedTokens(
        _ field: JSONField, _ vocabulary: Vocabulary, _ contents: inout [[UInt8]?]
    ) throws(LLaDAError) -> [AddedToken] {
        if field.isNull { return [] }
        var result: [AddedToken] = []
        // Hugging Face ignores the ids of the file: a content of the vocabulary has the vocabulary's id, any other gets
        // the next free one. Where the two disagree there is no right answer.
        var next = vocabulary.count
        for (index, value) in try field.array().enumerated() {
            let token = field[index, value]
            let content = try token["content"].string()
            if content.bytes.isEmpty { throw token["content"].wrong("a token that is not empty") }
            let id = try token["id"].integer(in: 0..<idLimit)
            let expected: Int
            if let known = content.bytes.withUnsafeBufferPointer({ vocabulary.table.id(of: $0) }) {
                expected = Int(known)
            } else {
                expected = next
                next += 1
            }
            guard id == expected else {
                throw token["id"].wrong("\(expected), the id Hugging Face gives \(content.quoted)")
            }
            if id >= contents.count { contents += Array(repeating: nil, count: id + 1 - contents.count) }
            if let other = contents[id], other != content.bytes {
                throw token["id"].wrong("an id that is not that of \(JSONString(other).quoted)")
            }
            contents[id] = content.bytes
            result.append(
                AddedToken(
                    id: Int32(id), content: content.bytes, singleWord: try token["single_word"].bool(),
                    stripsLeft: try token["lstrip"].bool(), stripsRight: try token["rstrip"].bool(),
                    isNormalized: try token["normalized"].bool(), isSpecial: try token["special"].bool()))
        }
        return result
    }
}
