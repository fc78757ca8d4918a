extension ChatTemplate {
    /// The template of a checkpoint's folder: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, else
    /// none. Throws when one of them is there and cannot be read.
    package convenience init(folder: String, tokenizer: Tokenizer) throws(LLaDAError) {
        let jinja = folder + "/chat_template.jinja"
        let config = folder + "/tokenizer_config.json"
        if MappedFile.exists(jinja) {
            let file = try MappedFile(jinja, mapped: false, limit: 1 << 24)
            self.init(
                tokenizer: tokenizer, jinja: String(decoding: file.bytes, as: UTF8.self), file: "chat_template.jinja")
        } else if MappedFile.exists(config) {
            let file = try MappedFile(config, mapped: false, limit: 1 << 26)
            let root = JSONField(
                file: "tokenizer_config.json", key: "",
                value: try JSON.parse(file.bytes, file: "tokenizer_config.json"))
            self.init(tokenizer: tokenizer, jinja: try Self.template(root["chat_template"]))
        } else {
            self.init(tokenizer: tokenizer)
        }
    }

    /// A string, or a list of named templates, of which "default" counts.
    private static func template(_ field: JSONField) throws(LLaDAError) -> String? {
        if field.isNull { return nil }
        guard case .array(let list) = field.value else { return try field.string().string }
        for (index, value) in list.enumerated() where try field[index, value]["name"].string() == "default" {
            return try field[index, value]["template"].string().string
        }
        return nil
    }
}
