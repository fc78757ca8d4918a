/// Text from tokens while they come, split into what is settled and what is draft.
///
/// Settled text is given once and never taken back. The draft is the text that decoding may still change, and is given
/// anew each time. A character whose bytes have not all come is held back.
///
/// All settled text, joined, is `Tokenizer.decode` of the tokens: those pushed, or the decoder's output. A stream is
/// bound to no decoder: forks and batches may take turns, as long as each continues what the stream has given. Belongs
/// to one thread at a time.
public struct TextStream: Sendable {
    /// What an update gives.
    public struct Update: Sendable, Equatable {
        /// The text that has become settled since the update before.
        public let settled: String
        /// All text behind it that may still change.
        public let draft: String

        package init(settled: String, draft: String) {
            self.settled = settled
            self.draft = draft
        }
    }

    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    private let mask: String?
    /// The tokens whose text was given, or is held back.
    private var taken: [Int32] = []
    /// The beginning of a character whose end has not come yet: at most three bytes.
    private var held: [UInt8] = []
    /// Whether the decoder's output was complete at the last update.
    private var hasEnded = false

    package init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = false, mask: String? = nil) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
        self.mask = mask
    }

    /// Takes tokens that are settled, and returns the text that they complete; it may be empty. Throws as
    /// `Tokenizer.decode`, and then has taken nothing.
    public mutating func push(_ ids: some Collection<Int32>) throws(LLaDAError) -> String {
        let decoded = try tokenizer.decodeBytes(ids, skipSpecialTokens: skipSpecialTokens)
        let room = try Reserve.Room(64 + 16 * decoded.count)
        defer { room.close() }
        let bytes = held + decoded
        let complete = bytes.withUnsafeBufferPointer(UTF8Text.completeLength)
        let text = String(decoding: bytes[..<complete], as: UTF8.self)
        try taken.makeRoom(for: ids.count)
        held = Array(bytes[complete...])
        taken += ids
        hasEnded = false
        return text
    }

    /// Takes what a decoder has settled since the update before, and returns its text, with that of the decoder's
    /// draft. At the decoder's end all text is settled: a cut-off character becomes U+FFFD, and the draft is empty.
    ///
    /// Positions of the prompt that were filled (infilling) are not part of it, as in `Decoder.output`. Throws `.state`
    /// if the decoder's output does not continue the tokens that the stream has taken: after `truncate`, an edit of
    /// settled tokens by the host, or for another decoder. The stream is then unchanged, and `finish` makes it ready to
    /// begin anew.
    public mutating func update(_ decoder: Decoder) throws(LLaDAError) -> Update {
        // The output, and a draft of as much text as it may be in arrays that double.
        let count = decoder.state.canvas.count
        let room = try Reserve.Room(64 + 128 * count + 8 * count * (mask?.utf8.count ?? 0))
        defer { room.close() }
        let output = decoder.output
        try check(output)
        let new = output[taken.count...]
        if hasEnded { return Update(settled: "", draft: "") }
        var settled = try push(new)
        guard decoder.isFinished else {
            let ended = output.last.map(decoder.state.eosIDs.contains) == true
            return Update(settled: settled, draft: ended ? "" : try draft(of: decoder.state))
        }
        settled += takeHeld()
        hasEnded = true
        return Update(settled: settled, draft: "")
    }

    /// Returns what is held back: a cut-off character as U+FFFD, or nothing. The stream may then be used anew.
    public mutating func finish() -> String {
        taken = []
        hasEnded = false
        return takeHeld()
    }

    /// What the stream has taken, to go back to it when the text has not reached the caller.
    package struct Mark {
        fileprivate let count: Int
        fileprivate let held: [UInt8]
        fileprivate let hasEnded: Bool
    }

    package var mark: Mark { Mark(count: taken.count, held: held, hasEnded: hasEnded) }

    package mutating func goBack(to mark: Mark) {
        taken.removeLast(max(0, taken.count - mark.count))
        (held, hasEnded) = (mark.held, mark.hasEnded)
    }

    private mutating func takeHeld() -> String {
        defer { held = [] }
        return String(decoding: held, as: UTF8.self)
    }

    private func check(_ output: [Int32]) throws(LLaDAError) {
        let same = zip(taken, output).prefix { $0 == $1 }.count
        guard same == taken.count, !hasEnded || output.count == same else {
            let found = same < output.count ? "token \(output[same])" : "nothing yet"
            let expected = same < taken.count ? "token \(taken[same]), whose text was given" : "the end"
            throw LLaDAError(
                .state,
                """
                the decoder does not continue this stream: at token \(same) of its output is \(found); expected \
                \(expected). Finish the stream to begin anew
                """
            )
        }
    }

    // MARK: Draft

    /// Returns the draft of a decoder before its end: up to the first token that ends a sequence, else up to the last
    /// token that was written; without a text for masks, at most up to the first of them.
    private func draft(of state: DecoderState) throws(LLaDAError) -> String {
        let canvas = state.canvas
        var text = ""
        var run = held  // the bytes of tokens without a mask between them
        var masks = ""  // a token behind them decides whether they are shown
        var isAfterMask = false
        let first = min(max(canvas.promptLength, state.settledLength), state.answerEnd)
        for position in first..<state.answerEnd {
            if canvas.state(position) == .masked {
                guard let mask else { break }
                text += Self.characters(run, afterMask: isAfterMask)
                run = []
                masks += mask
                isAfterMask = true
                continue
            }
            text += masks
            masks = ""
            try Reserve.check()
            let token = canvas.token(position)
            run += try tokenizer.decodeBytes(CollectionOfOne(token), skipSpecialTokens: skipSpecialTokens)
            if state.eosIDs.contains(token) { break }
        }
        return text + Self.characters(run, afterMask: isAfterMask)
    }

    /// Returns the text of a run of tokens, without the parts of characters at its ends that a mask may complete.
    private static func characters(_ bytes: [UInt8], afterMask: Bool) -> String {
        let start = afterMask ? bytes.prefix(3).prefix { $0 & 0xC0 == 0x80 }.count : 0
        let end = bytes.withUnsafeBufferPointer(UTF8Text.completeLength)
        return String(decoding: bytes[start..<max(start, end)], as: UTF8.self)
    }
}

extension Model {
    /// Returns a stream of text for this model's decoders, or for tokens.
    ///
    /// `skipSpecialTokens` leaves control tokens out. `mask` stands for each masked position of the draft that has a
    /// token behind it; nil: the draft ends before the first masked position. Throws `.tokenizer` if the model has no
    /// tokenizer.
    public func textStream(skipSpecialTokens: Bool = true, mask: String? = nil) throws(LLaDAError) -> TextStream {
        guard let tokenizer else { throw Tokenizer.missing }
        return TextStream(tokenizer, skipSpecialTokens: skipSpecialTokens, mask: mask)
    }
}
