/// `tokenizer.json`, checked and ready for use.
struct TokenizerParts: Sendable {
    /// In the order of the file.
    let addedTokens: [AddedToken]
    private let addedTable: NameTable
    /// The ids that have a token, and those whose token is special.
    let exists: BitSet
    let special: BitSet
    /// What each id stands for, in bytes.
    let tokens: TokenBytes
    /// With `ignore_merges`: the tokens that a whole piece may be.
    let wholePieces: TokenBytes?
    let bpe: BPE
    let nfc: NFC?
    let preTokenizer: PreTokenizer
    let scalars: ScalarTable
    let rawTokens: AddedTokenMatcher
    let normalizedTokens: AddedTokenMatcher
    /// Markers: special tokens, and added tokens that are written as a tag is, `<…>` or `[…]`.
    let markers: AddedTokenMatcher
    /// The ids of markers and special tokens.
    let markerIDs: BitSet
    /// Of pieces of text, for a cache.
    let hash = SecretHash()

    static let idLimit = 1 << 24

    init(_ root: JSONField) throws(LLaDAError) {
        _ = try root.object()
        // What does not depend on the file: the properties of scalars, and normalization.
        let room = try Reserve.Room(1 << 20)
        defer { room.close() }
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
        // The tables take longer to make than a small file to read: they come when the vocabulary is known to be good.
        let nfc = needsNFC ? NFC() : nil
        self.nfc = nfc
        let field = root["added_tokens"]
        let added = try AddedTokenList(field, vocabulary, nfc)
        let all = added.tokens
        addedTokens = all
        addedTable = try NameTable(capacity: all.count)
        for place in all.indices.reversed() {  // of equal contents, the last one is found
            _ = addedTable.insert(all[place].content, place) { all[$0].content }
        }
        rawTokens = try AddedTokenMatcher(all) { $0.isNormalized ? nil : $0.matched }
        normalizedTokens = try AddedTokenMatcher(all) { $0.isNormalized ? $0.matched : nil }
        if let place = [rawTokens.duplicate, normalizedTokens.duplicate].compactMap({ $0 }).min() {
            throw LLaDAError(
                .tokenizer, file: root.file, key: "\(field.key)[\(place)].content", found: all[place].content.quoted,
                expected: "a content that no other added token has")
        }
        markers = try AddedTokenMatcher(all) { $0.isSpecial || Self.isTag($0.content) ? $0.content : nil }

        let idEnd = added.idEnd
        (exists, special) = (try BitSet(count: idEnd), try BitSet(count: idEnd))
        markerIDs = try BitSet(count: idEnd)
        for id in 0..<vocabulary.idEnd where vocabulary.content(id) != nil { exists.insert(id) }
        for token in all {
            exists.insert(Int(token.id))
            if token.isSpecial { special.insert(Int(token.id)) }
            if token.isSpecial || Self.isTag(token.content) { markerIDs.insert(Int(token.id)) }
        }
        // Decoding: a token stands for the bytes its characters stand for, or, when one of them is outside the byte
        // alphabet, for its own UTF-8. An added token is its own text, after normalization.
        tokens = try TokenBytes(count: idEnd, byteCount: vocabulary.byteCount + added.byteCount) { id in
            if let place = added.place(of: id) { return .plain(all[place].matched) }
            return vocabulary.content(id).map { .alphabet($0) }
        }
        if try model["ignore_merges"].bool(default: false) {
            wholePieces = try TokenBytes(count: vocabulary.idEnd, byteCount: vocabulary.byteCount) { id in
                vocabulary.content(id).map { .alphabetAlone($0) }
            }
        } else {
            wholePieces = nil
        }

        for (byte, id) in byteIDs.enumerated() where special[Int(id)] {
            throw LLaDAError(
                .tokenizer, file: root.file, key: "added_tokens", found: "a special token with id \(id)",
                expected: "an id that is not that of byte \(byte), which text cannot do without")
        }
        bpe = try vocabulary.bpe(model["merges"], byteIDs: byteIDs)
        scalars = ScalarTable()
    }

    /// The bytes of memory of the tables.
    var byteCount: Int {
        let matchers = rawTokens.byteCount + normalizedTokens.byteCount + markers.byteCount
        let sets = exists.byteCount + special.byteCount + markerIDs.byteCount
        let list = addedTokens.reduce(addedTable.byteCount) { $0 + MemoryLayout<AddedToken>.stride + $1.content.count }
        return tokens.byteCount + (wholePieces?.byteCount ?? 0) + bpe.byteCount + matchers + sets + list
    }

    /// Returns the id of the added token with this content; nil if there is none.
    func addedID(_ content: JSONString) -> Int32? {
        addedTable.find(content) { addedTokens[$0].content }.map { addedTokens[$0].id }
    }

    private static func isTag(_ text: JSONString) -> Bool {
        text.withBytes { text in
            guard text.count > 2, let first = text.first, let last = text.last else { return false }
            return first == UInt8(ascii: "<") && last == UInt8(ascii: ">")
                || first == UInt8(ascii: "[") && last == UInt8(ascii: "]")
        }
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
            if try !field.string().isEmpty { throw field.unsupported("null or \"\"") }
        }
        if try model["byte_fallback"].bool(default: false) { throw model["byte_fallback"].unsupported("false") }
        // Every byte has a token, so nothing is ever unknown: these two have no effect.
        if !model["unk_token"].isNull { _ = try model["unk_token"].string() }
        _ = try model["fuse_unk"].bool(default: false)
    }
}
