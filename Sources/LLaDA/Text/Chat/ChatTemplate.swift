/// The chat layout of LLaDA2.x and Ling 2.0, as fixed code, and the checkpoint's own templates in Jinja, as text. Jinja
/// is never run here: whether a template writes that layout is decided by its text (`JinjaText`).
///
/// Every turn is `<role>NAME</role>content<|role_end|>`. The first turn is always SYSTEM. It holds the system message,
/// if there is one, then the tools, if there are any, and ends with "detailed thinking off" or "on". Reasoning is shown
/// behind the last question alone. Consecutive tool results share one OBSERVATION turn.
///
/// A template is immutable, and any number of threads may use it at the same time.
public final class ChatTemplate: Sendable {
    /// A template of the checkpoint.
    package struct Source: Sendable {
        /// "default", "tool_use", or a name of the checkpoint's own.
        package let name: String
        /// In Jinja.
        package let text: String
        /// Where it was found, for messages.
        let file: String
        /// What template it is, in words, if it is known to write the layout.
        let origin: String?
        /// Of the text; nil if it is not readable as Jinja, or too long to be a known one.
        let fingerprint: UInt64?

        private static let longestKnown = 1 << 20

        package init(name: String = "default", text: String, file: String) {
            self.name = name
            self.text = text
            self.file = file
            // The texts that are known are short.
            fingerprint = text.utf8.count > Self.longestKnown ? nil : JinjaText(text).fingerprint
            origin = fingerprint.flatMap { KnownTemplates.origins[$0] }
        }
    }

    /// The checkpoint's templates. There may be none.
    package let sources: [Source]
    /// What templates expect besides `messages`, `tools` and `add_generation_prompt`: `bos_token` and its like.
    package let variables: [(name: String, value: String)]
    private let tokenizer: Tokenizer

    package init(tokenizer: Tokenizer, sources: [Source] = [], variables: [(name: String, value: String)] = []) {
        self.tokenizer = tokenizer
        self.sources = sources
        self.variables = variables
    }

    // MARK: Whose layout it is

    /// Whether the checkpoint's template is known to write the layout of LLaDA2 and Ling 2.0, or there is no template
    /// and the tokenizer has `<|role_end|>`. Otherwise `encode` and `render` refuse, unless the caller insists.
    public var isKnownLayout: Bool { refusal(tools: false) == nil }

    /// Why `isKnownLayout` is what it is, in words.
    public var layoutReason: String {
        if let refusal = refusal(tools: false) { return refusal.message }
        guard let source = source(named: "default"), let known = source.origin else {
            return "there is no chat template, and the tokenizer has <|role_end|>"
        }
        return "\(source.file): chat_template is \(known)"
    }

    /// Returns the template of a name; nil if there is none.
    package func source(named name: String) -> Source? { sources.first { $0.name == name } }

    private func refusal(tools: Bool) -> LLaDAError? {
        if sources.isEmpty {
            if tokenizer.addedTokens.contains(where: { $0.content == "<|role_end|>" }) { return nil }
            return LLaDAError(
                .unsupported, file: "tokenizer.json", key: "added_tokens", found: "without <|role_end|>",
                expected: "that token, or a chat_template with the layout of LLaDA2 and Ling 2.0")
        }
        // As Hugging Face: a template for tools stands in for the default one where there are tools.
        guard let source = (tools ? source(named: "tool_use") : nil) ?? source(named: "default") else {
            let names = sources.map(\.name).joined(separator: ", ")
            return LLaDAError(
                .unsupported, file: sources[0].file, key: "chat_template", found: "a list of \(names)",
                expected: "one named default")
        }
        if source.origin != nil { return nil }
        let print = source.fingerprint.map { String($0, radix: 16) } ?? "not readable as Jinja"
        return LLaDAError(
            .unsupported, file: source.file, key: "chat_template",
            found: "a template that this library does not know (\(print))",
            expected: """
                the one of LLaDA2 and Ling 2.0; render this one with Jinja (Python: pip install jinja2), or \
                insist on that layout (LLADA_CHAT_LAYOUT_LLADA2)
                """)
    }

    // MARK: Conversations

    /// Returns the conversation as text, for display. The text does not distinguish markers from content, as the ids of
    /// `encode` do. See `encode` for the arguments and errors.
    public func render(
        _ messages: [ChatMessage], tools: String? = nil, thinking: Bool = false, generationPrompt: Bool = true,
        insist: Bool = false
    ) throws(LLaDAError) -> String {
        let layout = try layout(tools: tools, thinking: thinking, generationPrompt: generationPrompt, insist: insist)
        return String(decoding: layout.parts(messages).flatMap(\.text), as: UTF8.self)
    }

    /// Returns the conversation as token ids, [count].
    ///
    /// - Parameters:
    ///   - tools: JSON text of a list, each tool as the model is to see it. nil, "null" and "[]": none.
    ///   - thinking: Whether the model is told to think before it answers.
    ///   - generationPrompt: Whether the ids end with the start of the assistant's turn.
    ///   - insist: Whether to use this layout even if the checkpoint's template is not known to write it.
    ///
    /// The text of a message, of a tool or of a call never becomes a special token or a marker. If none contains the
    /// text of one, the ids are those of the rendered text. Throws `.unsupported` if the checkpoint's layout is not the
    /// known one, `.json` if `tools` is not JSON, and `.invalidArgument` if it is not a list.
    public func encode(
        _ messages: [ChatMessage], tools: String? = nil, thinking: Bool = false, generationPrompt: Bool = true,
        insist: Bool = false
    ) throws(LLaDAError) -> [Int32] {
        let layout = try layout(tools: tools, thinking: thinking, generationPrompt: generationPrompt, insist: insist)
        return try encode(messages, layout)
    }

    package func encode(_ messages: [ChatMessage], _ layout: ChatLayout) throws(LLaDAError) -> [Int32] {
        let room = try Reserve.Room(layout.tools.reduce(0) { $0 + 16 * $1.byteCount })
        defer { room.close() }
        return try tokenizer.encode(layout.parts(messages))
    }

    /// Returns the layout; see `encode` for the arguments and errors.
    package func layout(
        tools: String?, thinking: Bool, generationPrompt: Bool, insist: Bool
    ) throws(LLaDAError) -> ChatLayout {
        var list: [JSON] = []
        var hasTools = false
        if let tools {
            let room = try Reserve.Room(16 * tools.utf8.count)
            defer { room.close() }
            let value = try JSON.parse(Array(tools.utf8), file: "tools", rules: .python)
            let field = ChatField(key: "tools", value: value)
            hasTools = !field.isNull
            if hasTools { list = try field.list().map(\.value) }
        }
        if !insist, let refusal = refusal(tools: hasTools) { throw refusal }
        return ChatLayout(tools: list, thinking: thinking, generationPrompt: generationPrompt)
    }
}
