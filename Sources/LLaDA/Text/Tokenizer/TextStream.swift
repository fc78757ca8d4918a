/// Text from tokens as they come: never emits half a character.
///
/// All that `push` and `flush` return, joined, is what `Tokenizer.decode` gives for all the ids at once. Belongs to one
/// thread at a time.
public struct TextStream: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// The beginning of a character whose end has not come yet: at most three bytes.
    private var held: [UInt8] = []

    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = false) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// The text that these tokens complete; may be empty. Throws as `Tokenizer.decode`, and then has taken nothing.
    public mutating func push(_ ids: some Sequence<Int32>) throws(LLaDAError) -> String {
        let bytes = held + (try tokenizer.decodeBytes(ids, skipSpecialTokens: skipSpecialTokens))
        let complete = bytes.withUnsafeBufferPointer { bytes in
            // A character that is cut off begins in the last three bytes.
            for length in 1...3 where length <= bytes.count {
                if case .incomplete(length) = UTF8Text.unit(bytes, at: bytes.count - length) {
                    return bytes.count - length
                }
            }
            return bytes.count
        }
        held = Array(bytes[complete...])
        return String(decoding: bytes[..<complete], as: UTF8.self)
    }

    /// What is left at the end: a cut-off character as U+FFFD, or nothing. The stream may then be used anew.
    public mutating func flush() -> String {
        defer { held = [] }
        return String(decoding: held, as: UTF8.self)
    }
}
