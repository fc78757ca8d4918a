/// What `encode` does with the text of special tokens, such as `<|mask|>` or `<|role_end|>`.
public enum ControlTokens: Sendable {
    /// They are text like any other: what a user types can never become a control token.
    case asText
    /// They become their ids, as in Hugging Face `encode(add_special_tokens=False)`.
    case interpreted
}

/// A byte-level BPE tokenizer, read from a Hugging Face `tokenizer.json`.
///
/// Gives the ids that Hugging Face `tokenizers` gives; a file that asks for anything not implemented is refused when it
/// is loaded. Immutable: any number of threads may use one tokenizer at the same time.
public final class Tokenizer: Sendable {
    /// The largest id that has a token, plus one.
    public let vocabularySize: Int
    /// Ids from here on do not exist, not even as padding of the model's vocabulary.
    public let modelVocabularySize: Int

    /// In the order of the file.
    package let addedTokens: [AddedToken]
    private let parts: TokenizerParts

    /// What is thrown where a model without a tokenizer is asked about text.
    package static let missing = LLaDAError(
        .tokenizer, "the model has no tokenizer: there is no tokenizer.json in its folder")

    /// Reads `tokenizer.json`; nil without that file.
    ///
    /// `modelVocabularySize` is `vocab_size` of the model, which may be larger than the tokenizer's (padding): `decode`
    /// skips the ids between, and refuses those beyond. Throws `.json`, `.tokenizer` when the file contradicts itself,
    /// `.unsupported` when it asks for something not implemented.
    /// What reading takes counts towards `budget`.
    package convenience init?(
        _ files: SideFiles, modelVocabularySize: Int? = nil, budget: MemoryBudget? = nil
    ) throws(LLaDAError) {
        let bytes = MemoryBudget.smallFileMultiple * files.byteCount(of: .tokenizer)
        try budget?.take(bytes)
        defer { budget?.giveBack(bytes) }
        guard let json = try files.json(.tokenizer) else { return nil }
        try self.init(json, file: files.label(.tokenizer), modelVocabularySize: modelVocabularySize)
    }

    /// The same from the bytes of the file; `file` is its name in error messages.
    package convenience init(
        _ json: SharedBytes, file: String = "tokenizer.json", modelVocabularySize: Int? = nil
    ) throws(LLaDAError) {
        try self.init(JSON.parse(json, file: file), file: file, modelVocabularySize: modelVocabularySize)
    }

    private init(_ json: JSON, file: String, modelVocabularySize: Int?) throws(LLaDAError) {
        parts = try TokenizerParts(JSONField(file: file, key: "", value: json))
        vocabularySize = parts.exists.count
        self.modelVocabularySize = modelVocabularySize ?? vocabularySize
        addedTokens = parts.addedTokens
        if vocabularySize > self.modelVocabularySize {
            throw LLaDAError(
                .tokenizer, file: file, key: "the largest id", found: "\(vocabularySize - 1)",
                expected: "an id below the model's vocabulary size \(self.modelVocabularySize)")
        }
    }

    // MARK: Encoding

    /// The ids of a text in UTF-8. Bytes that are not valid UTF-8 become U+FFFD, one for every maximal subpart of an
    /// ill-formed sequence, as in `String(decoding:as:)` and Python's `errors="replace"`.
    ///
    /// Throws `.invalidArgument` for a text of 2 GiB or more.
    public func encode(
        _ text: some Sequence<UInt8>, controlTokens: ControlTokens = .asText
    ) throws(LLaDAError) -> [Int32] {
        try encode(text, reserved: controlTokens == .asText ? parts.special : nil)
    }

    /// The ids of a text.
    public func encode(_ text: String, controlTokens: ControlTokens = .asText) throws(LLaDAError) -> [Int32] {
        try encode(text.utf8, controlTokens: controlTokens)
    }

    /// `reserved[id]`: the text never becomes this id, neither as an added token nor by merging.
    package func encode(_ text: some Sequence<UInt8>, reserved: BitSet?) throws(LLaDAError) -> [Int32] {
        let limit = Int(Int32.max) - 8
        let run = { (bytes: UnsafeBufferPointer<UInt8>) throws(LLaDAError) -> [Int32]? in
            guard bytes.count <= limit else { return nil }
            var encoder = try TokenizerEncoder(parts: self.parts, reserved: reserved, textLength: bytes.count)
            if let repaired = try UTF8Text.repaired(bytes) {
                guard repaired.count <= limit else { return nil }
                try repaired.withUnsafeBufferPointer { (text) throws(LLaDAError) in try encoder.encode(text) }
            } else {
                try encoder.encode(bytes)
            }
            return encoder.ids
        }
        // A function of the standard library that does not pass on what its closure throws.
        let attempt = { (bytes: UnsafeBufferPointer<UInt8>) -> Result<[Int32]?, LLaDAError> in
            do throws(LLaDAError) { return .success(try run(bytes)) } catch { return .failure(error) }
        }
        let result = text.withContiguousStorageIfAvailable(attempt) ?? Array(text).withUnsafeBufferPointer(attempt)
        guard let ids = try result.get() else {
            throw LLaDAError(.invalidArgument, "the text is too long; at most \(limit) bytes are accepted")
        }
        return ids
    }

    /// The bytes of memory of its tables.
    package var byteCount: Int { parts.byteCount }

    /// The number of special tokens.
    package var specialCount: Int { parts.special.members }

    /// Markers and their ids: see `encode(_ parts:)`.
    var markers: AddedTokenMatcher { parts.markers }
    var markerIDs: BitSet { parts.markerIDs }

    // MARK: Decoding

    /// The bytes of the tokens. They need not be valid UTF-8: a character may be spread over several tokens.
    ///
    /// Ids without a token (padding of the model's vocabulary) are skipped. Throws `.invalidArgument` for any id
    /// outside `0..<modelVocabularySize`.
    public func decodeBytes(
        _ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false
    ) throws(LLaDAError) -> [UInt8] {
        var result: [UInt8] = []
        for id in ids {
            guard id >= 0, Int(id) < modelVocabularySize else {
                throw LLaDAError(
                    .invalidArgument,
                    "token id \(id) is outside the vocabulary; expected 0 to \(modelVocabularySize - 1)")
            }
            if skipSpecialTokens, isSpecial(id) { continue }
            try parts.tokens.withBytes(of: id) { (bytes) throws(LLaDAError) in
                try result.makeRoom(for: bytes.count)
                result += bytes
            }
        }
        return result
    }

    /// The text of the tokens; what is not valid UTF-8 becomes U+FFFD, as in Hugging Face.
    public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) throws(LLaDAError) -> String {
        try UTF8Text.string(decodeBytes(ids, skipSpecialTokens: skipSpecialTokens)[...])
    }

    // MARK: Vocabulary

    /// The bytes a token stands for; nil for an id without a token.
    public func bytes(of id: Int32) -> [UInt8]? {
        guard parts.exists[Int(id)] else { return nil }
        return parts.tokens.withBytes(of: id) { Array($0) }
    }

    /// The id of the added token with this content, or else of the token that stands for exactly these bytes.
    public func id(of token: some Sequence<UInt8>) -> Int32? {
        let bytes = Array(token)
        if let id = parts.addedID(JSONString(bytes)) { return id }
        return bytes.withUnsafeBufferPointer { parts.tokens.id(of: $0) }
    }

    public func id(of token: String) -> Int32? { id(of: token.utf8) }

    /// Whether the id is that of a special (control) token.
    public func isSpecial(_ id: Int32) -> Bool { parts.special[Int(id)] }
}
