/// `model.vocab` and `model.merges`, checked. Contents are as the file writes them, in the byte alphabet.
struct Vocabulary {
    /// By id; nil for ids in between that have no token.
    private(set) var contents: [[UInt8]?] = []
    let table: TokenBytes
    let count: Int

    init(_ field: JSONField) throws(LLaDAError) {
        let members = try field.object().members
        var largest = -1
        for (key, value) in members {
            guard case .integer(let id) = value, id >= 0, id < TokenizerParts.idLimit else {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(key.quoted)]", found: value.summary,
                    expected: "an integer from 0 to \(TokenizerParts.idLimit - 1)")
            }
            largest = max(largest, id)
        }
        contents = Array(repeating: nil, count: largest + 1)
        for (key, value) in members {
            guard case .integer(let id) = value else { continue }
            if let other = contents[id] {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(key.quoted)]", found: "\(id)",
                    expected: "an id that is not that of \(JSONString(other).quoted)")
            }
            contents[id] = key.bytes
        }
        count = members.count
        let contents = contents
        table = TokenBytes(contents, order: contents.indices.lazy.filter { contents[$0] != nil }.map { Int32($0) })
    }

    /// The ids of the 256 single bytes.
    func byteIDs(_ field: JSONField) throws(LLaDAError) -> [Int32] {
        var ids = [Int32](repeating: -1, count: 256)
        for value in UInt32(0x21)..<0x144 {
            guard let byte = ByteLevel.byte(of: value) else { continue }
            var content: [UInt8] = []
            UTF8Text.append(value, to: &content)
            if let id = content.withUnsafeBufferPointer({ table.id(of: $0) }) { ids[Int(byte)] = id }
        }
        if let byte = ids.firstIndex(of: -1) {
            throw LLaDAError(
                .tokenizer, file: field.file, key: field.key, found: "without a token for byte \(byte)",
                expected: "a token for each of the 256 bytes")
        }
        return ids
    }

    func merges(_ field: JSONField) throws(LLaDAError) -> [BPE.Merge] {
        let list = try field.array()
        guard list.count <= TokenizerParts.idLimit else {
            throw field.wrong("at most \(TokenizerParts.idLimit) merges")
        }
        var merges: [BPE.Merge] = []
        merges.reserveCapacity(list.count)
        var joined: [UInt8] = []
        for (index, value) in list.enumerated() {
            let (left, right): (ArraySlice<UInt8>, ArraySlice<UInt8>)
            switch value {
            case .string(let line):
                if line.bytes.starts(with: "#version".utf8) { continue }
                let halves = line.bytes.split(separator: 0x20, omittingEmptySubsequences: false)
                guard halves.count == 2 else {
                    throw field[index, value].wrong("two tokens with one space between them")
                }
                (left, right) = (halves[0], halves[1])
            case .array(let halves):
                guard halves.count == 2, case .string(let first) = halves[0], case .string(let second) = halves[1]
                else {
                    throw field[index, value].wrong("two strings")
                }
                (left, right) = (first.bytes[...], second.bytes[...])
            default: throw field[index, value].wrong("a string or an array of two")
            }
            joined.removeAll(keepingCapacity: true)
            joined += left
            joined += right
            guard let result = id(joined[...]), let left = id(left), let right = id(right) else {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(index)]",
                    found: "\(JSONString(Array(left)).quoted) + \(JSONString(Array(right)).quoted)",
                    expected: "two tokens of the vocabulary that together are another")
            }
            merges.append(BPE.Merge(left: left, right: right, result: result))
        }
        return merges
    }

    private func id(_ bytes: ArraySlice<UInt8>) -> Int32? {
        bytes.withUnsafeBufferPointer { table.id(of: $0) }
    }
}
