/// The text of a JSON object in the making, laid out as Python's `json.dumps` does it.
package struct JSONText {
    private(set) var bytes: [UInt8] = [UInt8(ascii: "{")]

    package init() {}

    /// Adds a member whose value is JSON already; null if there is none.
    package mutating func add(_ key: String, json: String?) {
        begin(key)
        bytes += (json ?? "null").utf8
    }

    package mutating func add(_ key: String, _ value: Int?) { add(key, json: value.map { "\($0)" }) }

    package mutating func add(_ key: String, _ value: Bool?) {
        add(key, json: value.map { $0 ? "true" : "false" })
    }

    package mutating func add(_ key: String, _ value: Double?) { add(key, json: value.map(JSON.pythonText(of:))) }

    package mutating func add(_ key: String, string: String?) {
        begin(key)
        if let string { JSON.append(string.utf8, to: &bytes) } else { bytes += "null".utf8 }
    }

    /// Adds an object.
    package mutating func add(_ key: String, _ object: JSONText?) {
        begin(key)
        bytes += object?.finished() ?? Array("null".utf8)
    }

    /// Adds a list, of objects or of strings.
    package mutating func add(_ key: String, list: [JSONText]) { add(key, list.map { $0.finished() }) }

    package mutating func add(_ key: String, strings: [String]) {
        add(
            key,
            strings.map {
                var text: [UInt8] = []
                JSON.append($0.utf8, to: &text)
                return text
            })
    }

    private mutating func add(_ key: String, _ values: [[UInt8]]) {
        begin(key)
        bytes.append(UInt8(ascii: "["))
        bytes += values.joined(separator: ", ".utf8)
        bytes.append(UInt8(ascii: "]"))
    }

    /// Returns the whole text.
    package func finished() -> [UInt8] { bytes + [UInt8(ascii: "}")] }

    private mutating func begin(_ key: String) {
        if bytes.count > 1 { bytes += ", ".utf8 }
        JSON.append(key.utf8, to: &bytes)
        bytes += ": ".utf8
    }
}
