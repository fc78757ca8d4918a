/// The small files of a checkpoint's folder, unchanged. A saved model gets copies of them.
package struct SideFiles: Sendable {
    package let files: [(name: String, content: MappedFile)]

    /// The names, in the order of writing. `config.json` comes last, because a folder without it is no checkpoint.
    private static let names = [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        ModelConfig.fileName,
    ]
    private static let limit = 1 << 30

    /// Reads the files that the folder has. They are not mapped, so that later changes of the folder do not reach them.
    package init(folder: String) throws(LLaDAError) {
        var files: [(name: String, content: MappedFile)] = []
        for name in Self.names where MappedFile.exists("\(folder)/\(name)") {
            files.append((name, try MappedFile("\(folder)/\(name)", mapped: false, limit: Self.limit)))
        }
        self.files = files
    }
}
