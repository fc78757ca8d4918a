extension ChatTemplate {
    /// Reads the template of a checkpoint: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, else
    /// none. Throws if `tokenizer_config.json` is asked and cannot be read.
    package convenience init(_ files: SideFiles, tokenizer: Tokenizer) throws(LLaDAError) {
        if let text = try files.withBytes(of: .chatTemplate, { String(decoding: $0, as: UTF8.self) }) {
            self.init(tokenizer: tokenizer, jinja: text, file: SideFiles.Name.chatTemplate.rawValue)
        } else if let json = try files.json(.tokenizerConfig) {
            let root = JSONField(file: SideFiles.Name.tokenizerConfig.rawValue, key: "", value: json)
            self.init(tokenizer: tokenizer, jinja: try Self.template(root["chat_template"]))
        } else {
            self.init(tokenizer: tokenizer)
        }
    }

    /// Returns the template: a string, or the one named "default" of a list.
    private static func template(_ field: JSONField) throws(LLaDAError) -> String? {
        if field.isNull { return nil }
        guard case .array(let list) = field.value else { return try field.string().string }
        for (index, value) in list.enumerated() where try field[index, value]["name"].string() == "default" {
            return try field[index, value]["template"].string().string
        }
        return nil
    }
}
