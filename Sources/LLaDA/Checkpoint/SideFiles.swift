/// The small files of a checkpoint's folder, as they are: what a saved model takes along.
package struct SideFiles: Sendable {
    package let files: [(name: String, content: MappedFile)]

    /// Without `config.json` a folder holds no checkpoint: whoever writes one writes it last.
    private static let names = [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        ModelConfig.fileName,
    ]
    private static let limit = 1 << 30

    /// Those that there are. Read, not mapped: they stay what they were, whatever becomes of the folder.
    package init(folder: String) throws(LLaDAError) {
        var files: [(name: String, content: MappedFile)] = []
        for name in Self.names where MappedFile.exists("\(folder)/\(name)") {
            files.append((name, try MappedFile("\(folder)/\(name)", mapped: false, limit: Self.limit)))
        }
        self.files = files
    }
}
