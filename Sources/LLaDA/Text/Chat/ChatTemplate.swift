/// One message of a conversation.
public struct ChatMessage: Sendable, Equatable {
    /// The author of a message.
    public enum Role: Sendable, Equatable {
        case system, user, assistant
        /// The result of a tool call.
        case tool
    }
    public var role: Role
    public var content: String

    public init(role: Role, content: String) {
        self.role = role
        self.content = content
    }
}

/// The chat layout of LLaDA2.x and Ling 2.0, as fixed code. Templates in Jinja are inspected and never run.
///
/// Every turn is `<role>NAME</role>content<|role_end|>`. The first turn is always SYSTEM. It holds the system message,
/// if there is one, and ends with "detailed thinking off". Consecutive tool results share one OBSERVATION turn.
///
/// A template is immutable, and any number of threads may use it at the same time.
public final class ChatTemplate: Sendable {
    private let tokenizer: Tokenizer
    private let refusal: LLaDAError?
    /// The markers that the tokenizer has as added tokens.
    private let markers: [(content: String, id: Int32)]
    /// Whether the token of each id is special or a marker; content never becomes such a token.
    private let reserved: [Bool]

    private static let layout = ["<role>", "</role>", "<|role_end|>", "<tool_response>", "</tool_response>"]

    /// Makes the template for a tokenizer. `jinja` is the checkpoint's `chat_template`, if it has one. `encode` and
    /// `render` throw `.unsupported` if `jinja` has another layout, or if there is no `jinja` and the tokenizer has no
    /// `<|role_end|>`.
    package init(tokenizer: Tokenizer, jinja: String? = nil, file: String = "tokenizer_config.json") {
        self.tokenizer = tokenizer
        var markers: [(content: String, id: Int32)] = []
        var reserved = tokenizer.specialIDs
        var refusal: LLaDAError?
        for content in Self.layout {
            let bytes = Array(content.utf8)
            guard let token = tokenizer.addedTokens.first(where: { $0.content == bytes }) else { continue }
            markers.append((content, token.id))
            reserved[Int(token.id)] = true
            if token.stripsLeft || token.stripsRight || token.singleWord {
                refusal = LLaDAError(
                    .unsupported, file: "tokenizer.json", key: "the added token \(content)",
                    found: "with lstrip, rstrip or single_word", expected: "a marker that takes nothing but itself")
            }
        }
        if let jinja {
            if !Self.contains(jinja, "<role>") {
                refusal = LLaDAError(
                    .unsupported, file: file, key: "chat_template", found: "a template without <role>",
                    expected: "the <role>NAME</role> layout of LLaDA2 and Ling 2.0; encode the prompt yourself")
            }
        } else if !markers.contains(where: { $0.content == "<|role_end|>" }) {
            refusal = LLaDAError(
                .unsupported, file: "tokenizer.json", key: "added_tokens", found: "without <|role_end|>",
                expected: "that token, or a chat_template with the layout of LLaDA2 and Ling 2.0")
        }
        self.markers = markers
        self.reserved = reserved
        self.refusal = refusal
    }

    /// Whether `text` contains `part`, byte by byte; `String` would compare by canonical equivalence.
    private static func contains(_ text: String, _ part: String) -> Bool {
        let (text, part) = (Array(text.utf8), Array(part.utf8))
        guard text.count >= part.count else { return false }
        return (0...text.count - part.count).contains { text[$0..<$0 + part.count].elementsEqual(part) }
    }

    // MARK: Layout

    private enum Part {
        /// Text of the template.
        case markup(String)
        /// Text of a message; it never becomes a marker.
        case content(String)
    }

    private func parts(_ messages: [ChatMessage], generationPrompt: Bool) throws(LLaDAError) -> [Part] {
        if let refusal { throw refusal }
        var rest = messages[...]
        var parts: [Part] = [.markup("<role>SYSTEM</role>")]
        if let first = rest.first, first.role == .system {
            parts += [.content(first.content), .markup("\n")]
            rest = rest.dropFirst()
        }
        parts.append(.markup("detailed thinking off<|role_end|>"))
        while let message = rest.popFirst() {
            switch message.role {
            case .system: parts += [.markup("<role>SYSTEM</role>"), .content(message.content)]
            case .user: parts += [.markup("<role>HUMAN</role>"), .content(message.content)]
            case .assistant: parts += [.markup("<role>ASSISTANT</role>"), .content(message.content)]
            case .tool:
                parts.append(.markup("<role>OBSERVATION</role>"))
                var result: ChatMessage? = message
                while let present = result {
                    parts += [
                        .markup("\n<tool_response>\n"), .content(present.content), .markup("\n</tool_response>"),
                    ]
                    result = rest.first?.role == .tool ? rest.popFirst() : nil
                }
            }
            parts.append(.markup("<|role_end|>"))
        }
        if generationPrompt { parts.append(.markup("<role>ASSISTANT</role>")) }
        return parts
    }

    /// Returns the conversation as text, for display. The text does not distinguish markers from content, as the ids of
    /// `encode` do. With `generationPrompt`, it ends with the start of the assistant's turn. Throws `.unsupported` if
    /// the checkpoint's layout is not the known one.
    public func render(_ messages: [ChatMessage], generationPrompt: Bool = true) throws(LLaDAError) -> String {
        var text = ""
        for part in try parts(messages, generationPrompt: generationPrompt) {
            switch part {
            case .markup(let piece), .content(let piece): text += piece
            }
        }
        return text
    }

    /// Returns the conversation as token ids, [count]. With `generationPrompt`, they end with the start of the
    /// assistant's turn.
    ///
    /// The text of a message never becomes a special token or a marker. If no message contains the text of one, the ids
    /// are those of the rendered text. Throws `.unsupported` if the checkpoint's layout is not the known one.
    public func encode(_ messages: [ChatMessage], generationPrompt: Bool = true) throws(LLaDAError) -> [Int32] {
        var ids: [Int32] = []
        // Text is cut only at added tokens: a marker that is not an added token belongs to the text around it.
        var text: [UInt8] = []
        for part in try parts(messages, generationPrompt: generationPrompt) {
            switch part {
            case .content(let content): text += content.utf8
            case .markup(let markup):
                var rest = Array(markup.utf8)[...]
                while !rest.isEmpty {
                    guard let marker = markers.first(where: { rest.starts(with: $0.content.utf8) }) else {
                        text.append(rest.removeFirst())
                        continue
                    }
                    ids += try tokenizer.encode(text, reserved: reserved)
                    text = []
                    ids.append(marker.id)
                    rest = rest.dropFirst(marker.content.utf8.count)
                }
            }
        }
        return ids + (try tokenizer.encode(text, reserved: reserved))
    }
}
