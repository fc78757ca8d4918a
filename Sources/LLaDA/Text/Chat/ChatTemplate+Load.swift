extension ChatTemplate {
    /// Reads the templates of a checkpoint, `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, and
    /// the variables that `tokenizer_config.json` has for them. Throws if that cannot be read.
    package convenience init(_ files: SideFiles, tokenizer: Tokenizer) throws(LLaDAError) {
        // Texts as strings, and reduced to what is compared.
        let room = try Reserve.Room(64 * (files.byteCount(of: .tokenizerConfig) + files.byteCount(of: .chatTemplate)))
        defer { room.close() }
        let config = JSONField(
            file: files.label(.tokenizerConfig), key: "", value: try files.json(.tokenizerConfig) ?? .null)
        var sources = try Self.sources(config["chat_template"])
        let file = files.label(.chatTemplate)
        let text = try files.withBytes(of: .chatTemplate) { (bytes) throws(LLaDAError) in
            if let description = WrongFile.description(bytes) { throw LLaDAError(.tokenizer, "\(file) \(description)") }
            return String(decoding: bytes, as: UTF8.self)
        }
        if let text { sources = [Source(text: text, file: file)] }
        self.init(tokenizer: tokenizer, sources: sources, variables: Self.variables(config))
    }

    private static let mostSources = 64

    /// Reads `chat_template`: a string, or a list of named ones.
    private static func sources(_ field: JSONField) throws(LLaDAError) -> [Source] {
        if field.isNull { return [] }
        guard case .array(let list) = field.value else {
            return [Source(text: try field.string().string, file: field.file)]
        }
        var sources: [Source] = []
        for (index, value) in list.enumerated() {
            if index == mostSources { throw field.unsupported("at most \(mostSources) templates") }
            let name = try field[index, value]["name"].string().string
            let text = try field[index, value]["template"].string().string
            sources.append(Source(name: name, text: text, file: field.file))
        }
        return sources
    }

    /// Reads the special tokens: strings, or objects with `content`. What is neither is no variable.
    private static func variables(_ config: JSONField) -> [(name: String, value: String)] {
        var variables: [(name: String, value: String)] = []
        let names: [StaticString] = [
            "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
        ]
        for name in names {
            var value = config[name].value
            if case .object = value { value = config[name]["content"].value }
            if case .string(let text) = value { variables.append(("\(name)", text.string)) }
        }
        return variables
    }
}
