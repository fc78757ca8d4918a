/// One message of a conversation.
public struct ChatMessage: Sendable, Equatable {
    /// The author of a message.
    public enum Role: String, Sendable, Equatable {
        case system, user, assistant
        /// The result of a tool call.
        case tool
    }
    public var role: Role
    public var content: String
    /// What the assistant thought before it answered. If it is nil, thoughts are looked for in `content`, between
    /// `<think>` and `</think>`. Other roles have none.
    public var reasoning: String?
    /// The tools that the assistant called. Other roles call none.
    public var toolCalls: [ToolCall]

    public init(role: Role, content: String, reasoning: String? = nil, toolCalls: [ToolCall] = []) {
        self.role = role
        self.content = content
        self.reasoning = reasoning
        self.toolCalls = toolCalls
    }
}

/// One call of a tool by the assistant.
public struct ToolCall: Sendable, Equatable {
    public var name: String
    /// JSON, which is laid out as it is written.
    public var arguments: String

    public init(name: String, arguments: String) {
        self.name = name
        self.arguments = arguments
    }
}
