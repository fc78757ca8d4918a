import CLLaDA
import LLaDA

private func tokenizer(of model: Model) throws(LLaDAError) -> Tokenizer {
    guard let tokenizer = model.tokenizer else { throw Tokenizer.missing }
    return tokenizer
}

private func check(_ flags: llada_text_flags, among known: Int, _ names: String) throws(LLaDAError) {
    if flags & ~llada_text_flags(known) != 0 {
        throw .argument("flags", found: "0x\(String(flags, radix: 16))", expected: "0, or \(names)")
    }
}

/// Returns whether the flags of a function that makes text leave control tokens out.
func skipsControl(_ flags: llada_text_flags) throws(LLaDAError) -> Bool {
    try check(flags, among: LLADA_TEXT_SKIP_CONTROL, "LLADA_TEXT_SKIP_CONTROL")
    return Int(flags) & LLADA_TEXT_SKIP_CONTROL != 0
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
        let skips = try skipsControl(flags)
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        let result = try tokenizer(of: model).decode(tokens, skipSpecialTokens: skips)
        try buffer.fill(utf8: result.utf8)
    }
}

@_cdecl("llada_tokenize_parts") @implementation
public func llada_tokenize_parts(
    _ model: OpaquePointer?, _ parts: UnsafePointer<llada_text_part>?, _ part_count: Int,
    _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let parts = try elements(parts, part_count, "parts", "part_count")
        let buffer = try CallerBuffer(tokens, capacity: capacity, count: count, "tokens")
        var text: [TextPart] = []
        for (index, part) in parts.enumerated() {
            let bytes = try elements(
                part.text, part.byte_count, "text of part \(index)", "byte_count of part \(index)")
            let raw = UnsafeRawBufferPointer(bytes)
            text.append(part.is_markup ? .markup(raw) : .content(raw))
        }
        try buffer.fill(tokenizer(of: model).encode(text))
    }
}
