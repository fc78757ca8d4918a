extension ChatMessage {
    /// Reads a conversation as the chat interface of OpenAI has it: a list of objects with `role`, `content` (text, a
    /// list of parts `{"type": "text", "text": ...}`, or null), `reasoning_content` (also `thinking` or `reasoning`),
    /// and `tool_calls`. A call has `name` and `arguments`, as JSON or as text, by itself or in a `function`. Other
    /// keys have no effect.
    ///
    /// Throws `.json` with line and column for what is not JSON, and `.invalidArgument` with the key for what is no
    /// message.
    public static func list(fromJSON json: some Sequence<UInt8>) throws(LLaDAError) -> [ChatMessage] {
        let root = ChatField(key: "messages", value: try JSON.parse(Array(json), file: "messages", rules: .python))
        var messages: [ChatMessage] = []
        for field in try root.list() {
            try Reserve.check()
            messages.append(try ChatMessage(field))
        }
        return messages
    }

    private init(_ field: ChatField) throws(LLaDAError) {
        let name = try field["role"].text()
        guard let role = Role(rawValue: name) else {
            throw field["role"].wrong("\"system\", \"user\", \"assistant\" or \"tool\"")
        }
        self.init(role: role, content: try Self.content(field["content"], role))
        guard role == .assistant else { return }
        for key: StaticString in ["reasoning_content", "thinking", "reasoning"] where !field[key].isNull {
            reasoning = try field[key].text()
            break
        }
        guard !field["tool_calls"].isNull else { return }
        for call in try field["tool_calls"].list() { toolCalls.append(try ToolCall(call)) }
    }

    private static func content(_ field: ChatField, _ role: Role) throws(LLaDAError) -> String {
        if field.isNull, role == .assistant || role == .tool { return "" }
        guard case .array = field.value else { return try field.text(orElse: ", or a list of parts") }
        var content = ""
        for part in try field.list() {
            guard case .string("text") = part["type"].value else { throw part["type"].wrong("\"text\"") }
            content += try part["text"].text()
        }
        return content
    }
}

extension ToolCall {
    fileprivate init(_ field: ChatField) throws(LLaDAError) {
        var call = field
        if case .object(let function) = field["function"].value, !function.members.isEmpty { call = field["function"] }
        guard case .object(let members) = call.value else { throw call.wrong("an object with name and arguments") }
        guard let arguments = members["arguments"] else { throw call["arguments"].wrong("JSON, or text that is JSON") }
        let text = if case .string(let text) = arguments { text.bytes } else { arguments.pythonText }
        self.init(name: try call["name"].text(), arguments: String(decoding: text, as: UTF8.self))
    }
}

/// A value of a conversation in JSON with its place, so that every refusal can name it.
struct ChatField {
    let key: String
    let value: JSON
    /// Whether an object lacks the key.
    var isMissing = false

    subscript(name: StaticString) -> ChatField {
        let value: JSON? = if case .object(let object) = value { object[JSONString(stringLiteral: name)] } else { nil }
        return ChatField(key: "\(key).\(name)", value: value ?? .null, isMissing: value == nil)
    }

    var isNull: Bool { if case .null = value { true } else { false } }

    func wrong(_ expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "\(key) is \(isMissing ? "missing" : value.summary); expected \(expected)")
    }

    func list() throws(LLaDAError) -> [ChatField] {
        guard case .array(let values) = value else { throw wrong("a list") }
        return values.enumerated().map { ChatField(key: "\(key)[\($0)]", value: $1) }
    }

    func text(orElse: String = "") throws(LLaDAError) -> String {
        guard case .string(let text) = value else { throw wrong("text\(orElse)") }
        return text.string
    }
}
