/// What the characters of a number of JSON are.
enum JSONNumber {
    case integer(Int)
    /// An integer that does not fit an `Int`.
    case large
    /// A number with a fraction or an exponent.
    case fraction

    /// Takes characters that are a number.
    init(_ text: UnsafeBufferPointer<UInt8>) {
        let isNegative = text.first == UInt8(ascii: "-")
        var value: Int? = 0
        for byte in text.dropFirst(isNegative ? 1 : 0) {
            guard JSONParser.isDigit(byte) else {
                self = .fraction
                return
            }
            value = value.flatMap { Self.appending(byte, to: $0, isNegative) }
        }
        self = value.map { .integer($0) } ?? .large
    }

    /// Returns the number as a double; nil if it is too large for one.
    static func double(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        if text.count > 1, text[1] == UInt8(ascii: "I") { return -.infinity }  // "-Infinity", which Python writes
        // Without memory, the next checkpoint says so.
        let bytes = 64 + text.count
        guard let room = Reserve.note({ () throws(LLaDAError) in try Reserve.Room(bytes) }) else { return nil }
        defer { room.close() }
        // Double(String) rounds correctly and depends on no locale. strtod would follow the locale of the host.
        guard let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else { return nil }
        return value
    }

    /// Appends a digit; nil if the number no longer fits. Negative numbers are built downwards, so that `Int.min` fits
    /// too.
    private static func appending(_ digit: UInt8, to value: Int, _ isNegative: Bool) -> Int? {
        let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
        if overflow { return nil }
        let units = Int(digit &- UInt8(ascii: "0"))
        let (sum, carried) =
            isNegative ? tenfold.subtractingReportingOverflow(units) : tenfold.addingReportingOverflow(units)
        return carried ? nil : sum
    }
}

/// The escapes of strings of JSON.
enum JSONEscape {
    /// Returns the byte that a backslash and this byte stand for; nil if they are no escape of two bytes.
    static func byte(of letter: UInt8) -> UInt8? {
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): letter
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        default: nil
        }
    }

    /// Returns the bytes of the escape that begins here, in a text that was checked, and the bytes that it stands for.
    static func length(_ text: UnsafeBufferPointer<UInt8>, _ position: Int) -> (written: Int, meant: Int) {
        guard position + 5 < text.count, text[position + 1] == UInt8(ascii: "u") else { return (2, 1) }
        var code: UInt32 = 0
        for place in position + 2..<position + 6 { code = code << 4 | UInt32(digit(text[place]) ?? 0) }
        switch code {
        case ..<0x80: return (6, 1)
        case ..<0x800: return (6, 2)
        case 0xD800..<0xDC00: return (12, 4)
        default: return (6, 3)
        }
    }

    /// Returns the value of a hexadecimal digit.
    static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
