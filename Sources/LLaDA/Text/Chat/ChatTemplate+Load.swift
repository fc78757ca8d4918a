extension ChatTemplate {
    /// Reads the template of a checkpoint's folder: `chat_template.jinja`, else `chat_template` of
    /// `tokenizer_config.json`, else none. Throws if one of them is there and cannot be read.
    package convenience init(folder: String, tokenizer: Tokenizer) throws(LLaDAError) {
        let jinja = folder + "/chat_template.jinja"
        let config = folder + "/tokenizer_config.json"
        if MappedFile.exists(jinja) {
            let file = try MappedFile(jinja, mapped: false, limit: 1 << 24)
            // The bytes are valid as long as the file object, which may end after its last use.
            let text = withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
            self.init(tokenizer: tokenizer, jinja: text, file: "chat_template.jinja")
        } else if MappedFile.exists(config) {
            let name = "tokenizer_config.json"
            let root = JSONField(file: name, key: "", value: try JSON.read(config, name: name, limit: 1 << 26))
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
