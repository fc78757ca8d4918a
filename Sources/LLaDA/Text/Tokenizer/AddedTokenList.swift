/// `added_tokens`, checked against the vocabulary. The contents have memory of their own, apart from the file's.
struct AddedTokenList {
    /// In the order of the file.
    let tokens: [AddedToken]
    /// The largest id of all tokens, plus one.
    let idEnd: Int
    /// The bytes of all texts.
    let byteCount: Int
    /// By id: the token, plus one; 0 for an id of none.
    private let places: Buffer<UInt32>  // [idEnd]

    init(_ field: JSONField, _ vocabulary: Vocabulary, _ nfc: NFC?) throws(LLaDAError) {
        let list = field.isNull ? nil : try field.array()
        var (count, length) = (0, 0)
        for value in list ?? JSONArray.empty {
            count += 1
            if case .string(let content) = JSONField(file: field.file, key: "", value: value)["content"].value {
                length += content.count
            }
        }
        let contents = try Buffer<UInt8>(count: length)
        // A token without one in the vocabulary has an id behind it.
        let places = try Buffer<UInt32>(count: vocabulary.idEnd + count, repeating: 0)
        let room = try Reserve.Room(64 + count * MemoryLayout<AddedToken>.stride)
        defer { room.close() }
        var tokens: [AddedToken] = []
        tokens.reserveCapacity(count)

        // Hugging Face ignores the ids of the file: a content of the vocabulary has the vocabulary's id, any other gets
        // the next free one. Where the two disagree there is no right answer.
        var next = vocabulary.count
        var (idEnd, end, byteCount) = (vocabulary.idEnd, 0, 0)
        for (index, value) in (list ?? JSONArray.empty).enumerated() {
            try Reserve.check()
            let token = field[index, value]
            let written = try token["content"].string()
            if written.isEmpty { throw token["content"].wrong("a token that is not empty") }
            let id = try token["id"].integer(in: 0..<TokenizerParts.idLimit)
            let expected: Int
            if let known = written.withBytes({ vocabulary.table.id(of: $0) }) {
                expected = Int(known)
            } else {
                expected = next
                next += 1
            }
            guard id == expected else {
                throw token["id"].wrong("\(expected), the id Hugging Face gives \(written.quoted)")
            }
            idEnd = max(idEnd, id + 1)
            let other =
                places.pointer[id] > 0 ? tokens[Int(places.pointer[id]) - 1].content : vocabulary.content(id)
            if let other, other != written { throw token["id"].wrong("an id that is not that of \(other.quoted)") }
            let content = written.withBytes { bytes in
                let own = UnsafeMutableBufferPointer(start: contents.pointer + end, count: bytes.count)
                _ = own.update(from: bytes)
                return JSONString(UnsafeBufferPointer(own), owner: contents)
            }
            end += content.count
            var new = AddedToken(
                id: Int32(id), content: content, matched: content, singleWord: try token["single_word"].bool(),
                stripsLeft: try token["lstrip"].bool(), stripsRight: try token["rstrip"].bool(),
                isNormalized: try token["normalized"].bool(), isSpecial: try token["special"].bool())
            if new.isNormalized, let normal = try Self.normalized(content, nfc) {
                if new.isSpecial {
                    // Hugging Face would not recognise it as special when decoding.
                    throw LLaDAError(
                        .unsupported, file: field.file, key: "\(field.key)[\(index)].content", found: content.quoted,
                        expected: "a special token in normalization form C")
                }
                new.matched = JSONString(normal)
            }
            byteCount += new.matched.count
            tokens.append(new)
            places.pointer[id] = UInt32(tokens.count)
        }
        self.tokens = tokens
        self.idEnd = idEnd
        self.byteCount = byteCount
        self.places = places
    }

    /// Returns a content in normalization form C; nil if it is so.
    private static func normalized(_ content: JSONString, _ nfc: NFC?) throws(LLaDAError) -> [UInt8]? {
        guard let nfc else { return nil }
        return try content.withBytes { (bytes) throws(LLaDAError) in try nfc.normalized(bytes) }
    }

    /// Returns the token of an id, into `tokens`; nil if it has none here.
    func place(of id: Int) -> Int? { places.pointer[id] == 0 ? nil : Int(places.pointer[id]) - 1 }
}
