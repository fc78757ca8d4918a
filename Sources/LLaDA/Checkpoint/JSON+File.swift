extension JSON {
    /// Reads and parses a small file. Messages about its content call it `name`.
    package static func read(_ path: String, name: String, limit: Int) throws(LLaDAError) -> JSON {
        try parse(try FilePrefix(whole: path, limit: limit).shared, file: name)
    }
}
