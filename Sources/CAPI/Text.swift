import CLLaDA
import LLaDA

private func tokenizer(of model: Model) throws(LLaDAError) -> Tokenizer {
    guard let tokenizer = model.tokenizer else {
        throw LLaDAError(.tokenizer, "the model has no tokenizer: there is no tokenizer.json in its folder")
    }
    return tokenizer
}

private func check(_ flags: llada_text_flags, among known: Int, _ names: String) throws(LLaDAError) {
    if flags & ~llada_text_flags(known) != 0 {
        throw .argument("flags", found: "0x\(String(flags, radix: 16))", expected: "0, or \(names)")
    }
}

@_cdecl("llada_tokenize") @implementation
public func llada_tokenize(
    _ model: OpaquePointer?, _ text: UnsafePointer<CChar>?, _ byte_count: Int, _ flags: llada_text_flags,
    _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let text = try elements(text, byte_count, "text", "byte_count")
        try check(flags, among: LLADA_TEXT_CONTROL, "LLADA_TEXT_CONTROL")
        let buffer = try CallerBuffer(tokens, capacity: capacity, count: count, "tokens")
        let control: ControlTokens = Int(flags) & LLADA_TEXT_CONTROL != 0 ? .interpreted : .asText
        let bytes = UnsafeRawBufferPointer(text).bindMemory(to: UInt8.self)
        try buffer.fill(tokenizer(of: model).encode(bytes, controlTokens: control))
    }
}

@_cdecl("llada_detokenize") @implementation
public func llada_detokenize(
    _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ token_count: Int, _ flags: llada_text_flags,
    _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let tokens = try elements(tokens, token_count, "tokens", "token_count")
        try check(
            flags, among: LLADA_TEXT_SKIP_CONTROL | LLADA_TEXT_HOLD_BACK,
            "LLADA_TEXT_SKIP_CONTROL and LLADA_TEXT_HOLD_BACK")
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        // One push and no flush: an incomplete character at the end stays in the stream.
        var stream = TextStream(
            try tokenizer(of: model), skipSpecialTokens: Int(flags) & LLADA_TEXT_SKIP_CONTROL != 0)
        var result = try stream.push(tokens)
        if Int(flags) & LLADA_TEXT_HOLD_BACK == 0 { result += stream.flush() }
        try buffer.fill(result.utf8.map { CChar(bitPattern: $0) })
    }
}

@_cdecl("llada_chat_tokenize") @implementation
public func llada_chat_tokenize(
    _ model: OpaquePointer?, _ messages: UnsafePointer<llada_chat_message>?, _ message_count: Int,
    _ add_generation_prompt: Bool, _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let messages = try elements(messages, message_count, "messages", "message_count")
        let buffer = try CallerBuffer(tokens, capacity: capacity, count: count, "tokens")
        var conversation: [ChatMessage] = []
        for (index, message) in messages.enumerated() {
            guard let role = message.role else { throw .null("role of message \(index)") }
            guard let content = message.content else { throw .null("content of message \(index)") }
            conversation.append(
                ChatMessage(
                    role: try chatRole(String(decoding: bytes(role), as: UTF8.self), of: index),
                    content: String(decoding: bytes(content), as: UTF8.self)))
        }
        _ = try tokenizer(of: model)
        guard let template = model.chatTemplate else {
            throw LLaDAError(.unsupported, "the model has no chat template: tokenize the conversation yourself")
        }
        try buffer.fill(template.encode(conversation, generationPrompt: add_generation_prompt))
    }
}

private func chatRole(_ name: String, of index: Int) throws(LLaDAError) -> ChatMessage.Role {
    switch name {
    case "system": .system
    case "user": .user
    case "assistant": .assistant
    case "tool": .tool
    default:
        throw .argument(
            "role of message \(index)", found: "\"\(name)\"",
            expected: "\"system\", \"user\", \"assistant\" or \"tool\"")
    }
}
