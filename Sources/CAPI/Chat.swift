import CLLaDA
import Glibc
import LLaDA

@_cdecl("llada_chat_tokenize") @implementation
public func llada_chat_tokenize(
    _ model: OpaquePointer?, _ messages: UnsafePointer<llada_chat_message>?, _ message_count: Int,
    _ options: UnsafePointer<llada_chat_options>?, _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let messages = try elements(messages, message_count, "messages", "message_count")
        let buffer = try CallerBuffer(tokens, capacity: capacity, count: count, "tokens")
        let room = try Reserve.Room(try chatMemory(messages))
        defer { room.close() }
        let (template, layout) = try ChatOptions(options).layout(for: model)
        var conversation: [ChatMessage] = []
        for (index, message) in messages.enumerated() {
            try Reserve.check()
            guard let role = message.role else { throw .null("role of message \(index)") }
            guard let content = message.content else { throw .null("content of message \(index)") }
            let name = JSONString(Array(bytes(role).prefix(400)))
            guard let role = ChatMessage.Role(rawValue: name.string) else {
                throw .argument(
                    "role of message \(index)", found: name.quoted,
                    expected: "\"system\", \"user\", \"assistant\" or \"tool\"")
            }
            conversation.append(ChatMessage(role: role, content: String(decoding: bytes(content), as: UTF8.self)))
        }
        try buffer.fill(template.encode(conversation, layout))
    }
}

@_cdecl("llada_chat_tokenize_json") @implementation
public func llada_chat_tokenize_json(
    _ model: OpaquePointer?, _ messages: UnsafePointer<CChar>?, _ byte_count: Int,
    _ options: UnsafePointer<llada_chat_options>?, _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let messages = try elements(messages, byte_count, "messages", "byte_count")
        let buffer = try CallerBuffer(tokens, capacity: capacity, count: count, "tokens")
        let room = try Reserve.Room(64 * messages.count)
        defer { room.close() }
        let (template, layout) = try ChatOptions(options).layout(for: model)
        let conversation = try ChatMessage.list(fromJSON: UnsafeRawBufferPointer(messages))
        try buffer.fill(template.encode(conversation, layout))
    }
}

@_cdecl("llada_chat_template") @implementation
public func llada_chat_template(
    _ model: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        // No template has a longer name than its file.
        let name = name.map { String(decoding: bytes($0).prefix(1 << 15), as: UTF8.self) } ?? "default"
        let source = try chatTemplate(of: model).source(named: name)
        try buffer.fill(utf8: (source?.text ?? "").utf8)
    }
}

@_cdecl("llada_chat_variables") @implementation
public func llada_chat_variables(
    _ model: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        var variables = JSONText()
        let values = try chatTemplate(of: model).variables
        let bytes = values.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 16 }
        try Reserve.withRoom(64 * bytes) { () throws(LLaDAError) in
            for (name, value) in values { variables.add(name, string: value) }
            try buffer.fill(utf8: variables.finished())
        }
    }
}

/// Returns how many bytes a conversation takes, in large blocks, on the way from the caller's text to tokens: as
/// messages, as parts, and as copies of these in arrays that double.
private func chatMemory(_ messages: UnsafeBufferPointer<llada_chat_message>) throws(LLaDAError) -> Int {
    var count = 0
    for message in messages {
        if let content = message.content { count += strlen(content) }
        if let role = message.role { count += min(strlen(role), 400) }
    }
    return 32 * count + 1024 * messages.count
}

/// The caller's options, with the defaults of what is not given.
private struct ChatOptions {
    private var addGenerationPrompt = true
    private var thinking = false
    private var insist = false
    private var tools: String?

    init(_ options: UnsafePointer<llada_chat_options>?) throws(LLaDAError) {
        guard let options else { return }
        let given = try CallerStruct(options, "llada_chat_options")
        addGenerationPrompt = given[\.add_generation_prompt] ?? addGenerationPrompt
        thinking = given[\.thinking] ?? thinking
        let layout = Int(given[\.layout] ?? llada_chat_layout(LLADA_CHAT_LAYOUT_KNOWN))
        switch layout {
        case LLADA_CHAT_LAYOUT_KNOWN: insist = false
        case LLADA_CHAT_LAYOUT_LLADA2: insist = true
        default:
            throw .argument(
                "layout", found: layout, expected: "LLADA_CHAT_LAYOUT_KNOWN or LLADA_CHAT_LAYOUT_LLADA2")
        }
        if let text = given[\.tools] ?? nil { tools = try string(text) }
    }

    /// Returns the layout before any message is looked at: whether it is the known one does not depend on them.
    func layout(for model: Model) throws(LLaDAError) -> (ChatTemplate, ChatLayout) {
        let template = try chatTemplate(of: model)
        let layout = try template.layout(
            tools: tools, thinking: thinking, generationPrompt: addGenerationPrompt, insist: insist)
        return (template, layout)
    }
}

/// Every model with a tokenizer has a chat template, be it one that knows no layout.
private func chatTemplate(of model: Model) throws(LLaDAError) -> ChatTemplate {
    guard let template = model.chatTemplate else { throw Tokenizer.missing }
    return template
}
