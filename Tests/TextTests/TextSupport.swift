import Foundation
import LLaDA

enum TextFixture {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/text")

    static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: folder.appending(path: name))) }

    static func tokenizer(_ name: String) throws -> Tokenizer {
        try Tokenizer(SharedBytes(copying: Array(bytes("\(name).json"))))
    }

    /// The length-prefixed fields of a file, see Tests/Fixtures/text/make_fixtures.py.
    static func fields(_ name: String) throws -> [ArraySlice<UInt8>] {
        let bytes = try bytes(name)
        var fields: [ArraySlice<UInt8>] = []
        var position = 0
        while position < bytes.count {
            let length = (0..<4).reduce(0) { $0 | Int(bytes[position + $1]) << (8 * $1) }
            fields.append(bytes[(position + 4)..<(position + 4 + length)])
            position += 4 + length
        }
        return fields
    }

    static func ids(_ bytes: ArraySlice<UInt8>) -> [Int32] {
        var (ids, value, shift): ([Int32], Int32, Int32) = ([], 0, 0)
        for byte in bytes {
            value |= Int32(byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 {
                ids.append(value)
                (value, shift) = (0, 0)
            }
        }
        return ids
    }
}

/// A tokenizer.json with the 256 bytes, "ab", "abc" and a few added tokens, to be changed at will.
struct TinyTokenizer {
    var root: [String: Any]

    init() {
        var vocabulary: [String: Any] = [:]
        for byte in 0..<256 { vocabulary[Self.character(UInt8(byte))] = byte }
        vocabulary["ab"] = 256
        vocabulary["abc"] = 257
        root = [
            "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "normalizer": NSNull(),
            "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true],
            "post_processor": NSNull(),
            "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
            "model": ["type": "BPE", "vocab": vocabulary, "merges": [["a", "b"], ["ab", "c"]]] as [String: Any],
            "added_tokens": [
                Self.added(258, "<|mask|>", special: true), Self.added(259, "<|role_end|>", special: true),
                Self.added(260, "<role>"), Self.added(261, "</role>"),
            ],
        ]
    }

    static func character(_ byte: UInt8) -> String {
        let itself = (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
        if itself { return String(Unicode.Scalar(byte)) }
        let number: UInt32 = byte < 0x21 ? UInt32(byte) : byte == 0xAD ? 0x43 : UInt32(byte) - 0x7F + 0x21
        return String(Unicode.Scalar(0x100 + number).map(Character.init) ?? "?")
    }

    static func added(
        _ id: Int, _ content: String, special: Bool = false, normalized: Bool = false, leftStrip: Bool = false
    ) -> [String: Any] {
        [
            "id": id, "content": content, "single_word": false, "lstrip": leftStrip, "rstrip": false,
            "normalized": normalized, "special": special,
        ]
    }

    /// Sets, or with nil removes, the value at a path of keys.
    mutating func set(_ path: String, _ value: Any?) {
        func changed(_ object: [String: Any], _ keys: ArraySlice<Substring>) -> [String: Any] {
            guard let key = keys.first else { return object }
            var object = object
            if keys.count == 1 {
                object[String(key)] = value
            } else {
                object[String(key)] = changed(object[String(key)] as? [String: Any] ?? [:], keys.dropFirst())
            }
            return object
        }
        root = changed(root, path.split(separator: "/")[...])
    }

    func data() throws -> Data { try JSONSerialization.data(withJSONObject: root, options: [.sortedKeys]) }

    func load(modelVocabularySize: Int? = nil) throws -> Tokenizer {
        try Tokenizer(SharedBytes(copying: Array(data())), modelVocabularySize: modelVocabularySize)
    }
}
