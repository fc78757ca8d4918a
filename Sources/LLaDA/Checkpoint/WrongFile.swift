/// A file that is not what its name promises, known by its first bytes.
package enum WrongFile {
    /// Returns what a file is that should be something else, and what to do about it; nil if its first bytes are none
    /// of those that people meet.
    package static func description(_ bytes: UnsafeRawBufferPointer) -> String? {
        func begins(_ text: StaticString) -> Bool {
            text.withUTF8Buffer { bytes.starts(with: $0) }
        }
        if begins("version https://git-lfs.github.com/spec/") {
            return "is a git-lfs pointer, which stands for the file: fetch the file with `git lfs pull` in its folder"
        }
        if begins("GGUF") { return "is a GGUF file: give it a name that ends in .gguf, and open it by its own path" }
        if begins("PK\u{3}\u{4}") {
            return "is a zip archive, as PyTorch writes it: save the model anew as safetensors"
        }
        let page = bytes.drop { " \t\r\n".utf8.contains($0) }
        if ["<!DOCTYPE", "<!doctype", "<html"].contains(where: { page.starts(with: $0.utf8) }) {
            return "is an HTML page: perhaps the answer to a download that was refused"
        }
        return nil
    }

    /// Throws `.io` unless `path` is a folder.
    static func checkFolder(_ path: String) throws(LLaDAError) {
        if InputFile.isFolder(path) { return }
        if InputFile.exists(path) {
            let start = try FilePrefix(try InputFile(path))
            try start.reach(1)
            if let description = withExtendedLifetime(start, { description(start.bytes) }) {
                throw LLaDAError(.io, "\(path) \(description)")
            }
            throw LLaDAError(
                .io,
                """
                \(path) is neither a folder nor a GGUF file; expected the folder of a checkpoint, with its \
                config.json, or a GGUF file
                """)
        }
        if path.hasSuffix(".gguf") { throw LLaDAError(.io, "there is no file \(path)") }
        guard let id = hubID(path) else { throw LLaDAError(.io, "there is no folder \(path)") }
        throw LLaDAError(
            .io,
            """
            there is no folder \(path). If this is a model's id on the Hugging Face hub, download it first: \
            hf download \(id) --local-dir \(id.split(separator: "/")[1])
            """)
    }

    /// Returns the id of a model on the Hugging Face hub ("owner/name") if a path reads like one, or like its address.
    private static func hubID(_ path: String) -> String? {
        let path = path.hasSuffix("/") ? path.dropLast() : path[...]
        var parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count >= 5, parts[0] == "https:", parts[1].isEmpty, parts[2] == "huggingface.co" {
            parts = Array(parts[3...4])
        }
        let isID =
            parts.count == 2
            && parts.allSatisfy { part in
                guard let first = part.utf8.first, isAlphanumeric(first) else { return false }
                return part.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
            }
        return isID ? parts.joined(separator: "/") : nil
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}
