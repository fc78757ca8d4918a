/// The text of a JSON object in the making.
struct JSONText {
    private(set) var bytes: [UInt8] = [UInt8(ascii: "{")]

    /// Adds a member whose value is JSON already.
    mutating func add(_ key: String, json: String) {
        begin(key)
        bytes += json.utf8
    }

    mutating func add(_ key: String, _ value: Int) { add(key, json: "\(value)") }

    mutating func add(_ key: String, _ value: Bool) { add(key, json: value ? "true" : "false") }

    mutating func add(_ key: String, string: String) {
        begin(key)
        JSON.append(string.utf8, to: &bytes)
    }

    /// Adds a member whose value `write` writes.
    mutating func add(_ key: String, _ write: (inout [UInt8]) throws(LLaDAError) -> Void) throws(LLaDAError) {
        begin(key)
        try write(&bytes)
    }

    /// Returns the whole text.
    consuming func finished() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private mutating func begin(_ key: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        bytes += "\"\(key)\":".utf8
    }
}
