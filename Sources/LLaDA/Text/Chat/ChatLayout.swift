/// The chat layout of Ling 2.0 and LLaDA2 (spec: text.md, section 5): a conversation in parts. What somebody wrote is
/// content, down to the names of tools; all else is markup.
package struct ChatLayout {
    /// The tools, each in JSON.
    let tools: [JSON]
    let thinking: Bool
    let generationPrompt: Bool

    func parts(_ messages: [ChatMessage]) -> [TextPart] {
        var parts: [TextPart] = [.markup("<role>SYSTEM</role>")]
        if let first = messages.first, first.role == .system {
            parts += [.content(first.content.utf8), .markup("\n")]
        }
        parts += toolParts
        parts.append(.markup("detailed thinking \(thinking ? "on" : "off")<|role_end|>"))
        let question = Self.lastQuestion(messages)
        for (place, message) in messages.enumerated() {
            switch message.role {
            case .system where place == 0: continue
            case .system: parts += [.markup("<role>SYSTEM</role>"), .content(message.content.utf8)]
            case .user: parts += [.markup("<role>HUMAN</role>"), .content(message.content.utf8)]
            case .assistant: parts += Self.assistantParts(message, showsReasoning: place > question)
            case .tool:
                if place == 0 || messages[place - 1].role != .tool { parts.append(.markup("<role>OBSERVATION</role>")) }
                parts += [
                    .markup("\n<tool_response>\n"), .content(message.content.utf8), .markup("\n</tool_response>"),
                ]
                if place + 1 < messages.count, messages[place + 1].role == .tool { continue }
            }
            parts.append(.markup("<|role_end|>"))
        }
        if generationPrompt { parts.append(.markup("<role>ASSISTANT</role>")) }
        return parts
    }

    private var toolParts: [TextPart] {
        if tools.isEmpty { return [] }
        let opening = """
            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>
            """
        let closing = """

            </tools>

            For each function call, return a json object with function name and arguments within \
            <tool_call></tool_call> XML tags:
            <tool_call>
            {"name": <function-name>, "arguments": <args-json-object>}
            </tool_call>

            """
        return [.markup(opening)] + tools.flatMap { [.markup("\n"), .content($0.pythonText)] } + [.markup(closing)]
    }

    private static func assistantParts(_ message: ChatMessage, showsReasoning: Bool) -> [TextPart] {
        var content = Array(message.content.utf8)[...]
        var reasoning: ArraySlice<UInt8> = []
        if let given = message.reasoning {
            reasoning = Array(given.utf8)[...]
        } else if let end = content.first("</think>") {
            reasoning = content[..<end.lowerBound].withoutLineFeeds(atStart: false)
            if let start = reasoning.last("<think>") { reasoning = reasoning[start.upperBound...] }
            reasoning = reasoning.withoutLineFeeds(atEnd: false)
            let last = content.last("</think>") ?? end
            content = content[last.upperBound...].withoutLineFeeds(atEnd: false)
        }
        var parts: [TextPart] = [.markup("<role>ASSISTANT</role>")]
        if showsReasoning, !reasoning.isEmpty {
            parts += [
                .markup("\n<think>\n"), .content(reasoning.withoutLineFeeds()), .markup("\n</think>\n\n"),
                .content(content.withoutLineFeeds(atEnd: false)),
            ]
        } else {
            parts.append(.content(content))
        }
        for (place, call) in message.toolCalls.enumerated() {
            if place > 0 || !content.isEmpty { parts.append(.markup("\n")) }
            parts += [
                .markup("<tool_call>\n{\"name\": \""), .content(call.name.utf8), .markup("\", \"arguments\": "),
                .content(call.arguments.utf8), .markup("}\n</tool_call>"),
            ]
        }
        return parts
    }

    /// Returns the place of the last message of a user that is not itself the result of a tool; of the last message
    /// if there is none.
    private static func lastQuestion(_ messages: [ChatMessage]) -> Int {
        let found = messages.lastIndex { message in
            let text = Array(message.content.utf8)
            return message.role == .user
                && !(text.starts(with: "<tool_response>".utf8)
                    && text.reversed().starts(with: "</tool_response>".utf8.reversed()))
        }
        return found ?? messages.count - 1
    }
}

extension ArraySlice<UInt8> {
    fileprivate func first(_ part: StaticString) -> Range<Int>? {
        place(of: part, among: indices)
    }

    fileprivate func last(_ part: StaticString) -> Range<Int>? {
        place(of: part, among: indices.reversed())
    }

    private func place(of part: StaticString, among places: some Sequence<Int>) -> Range<Int>? {
        let part = UnsafeBufferPointer(start: part.utf8Start, count: part.utf8CodeUnitCount)
        for place in places where self[place...].starts(with: part) { return place..<place + part.count }
        return nil
    }

    fileprivate func withoutLineFeeds(atStart: Bool = true, atEnd: Bool = true) -> ArraySlice {
        var text = self
        while atStart, text.first == 0x0A { text.removeFirst() }
        while atEnd, text.last == 0x0A { text.removeLast() }
        return text
    }
}
