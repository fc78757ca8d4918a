/// GPT-2's bijection between bytes and printable characters: how byte-level BPE writes arbitrary bytes as JSON strings.
/// Printable ISO 8859-1 stands for itself, the other 68 bytes are U+0100 and up in order.
enum ByteLevel {
    /// The pattern `ByteLevel` cuts with when `use_regex` is set; `tokenizer.json` leaves it implicit.
    static let pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    private static func standsForItself(_ byte: UInt32) -> Bool {
        (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
    }

    /// The byte a character stands for; nil for characters outside the alphabet.
    static func byte(of value: UInt32) -> UInt8? {
        if value < 0x100 { return standsForItself(value) ? UInt8(value) : nil }
        let number = value - 0x100
        switch number {
        case 0...0x20: return UInt8(number)  // 00–20
        case 0x21...0x42: return UInt8(number - 0x21 + 0x7F)  // 7F–A0
        case 0x43: return 0xAD
        default: return nil
        }
    }

    /// Writes the bytes that a token of the vocabulary stands for, no more than it has itself, and returns their
    /// number; nil when a character is outside the alphabet.
    static func decode(_ token: JSONString, into out: UnsafeMutablePointer<UInt8>) -> Int? {
        token.withBytes { text in
            var position = 0
            var count = 0
            while position < text.count {
                let (value, length) = UTF8Text.scalar(text, at: position)
                guard let byte = byte(of: value) else { return nil }
                out[count] = byte
                count += 1
                position += length
            }
            return count
        }
    }
}
