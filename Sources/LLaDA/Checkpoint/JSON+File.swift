extension JSON {
    /// Reads and parses a small file. Messages about its content call it `name`.
    package static func read(_ path: String, name: String, limit: Int) throws(LLaDAError) -> JSON {
        let file = try FilePrefix(whole: path, limit: limit)
        return try withExtendedLifetime(file) { () throws(LLaDAError) in try parse(file.bytes, file: name) }
    }
}
