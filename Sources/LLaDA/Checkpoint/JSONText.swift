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
        var string = string
        string.withUTF8 { Self.append(UnsafeRawBufferPointer($0), to: &bytes) }
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

    /// Writes a string in quotes. Bytes that are no UTF-8 stay as they are, and whoever parses the text refuses them.
    static func append(_ string: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in string {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20:
                bytes += "\\u00".utf8
                bytes.append(contentsOf: [hex(byte >> 4), hex(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func hex(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
}
