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
        table = TokenBytes(contents)
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
            let merge: BPE.Merge?
            switch value {
            case .string(let line):
                if line.bytes.starts(with: "#version".utf8) { continue }
                merge = try line.bytes.withUnsafeBufferPointer { (line) throws(LLaDAError) in
                    guard let space = line.firstIndex(of: 0x20), !line[(space + 1)...].contains(0x20) else {
                        throw field[index, value].wrong("two tokens with one space between them")
                    }
                    return self.merge(
                        UnsafeBufferPointer(rebasing: line[..<space]),
                        UnsafeBufferPointer(rebasing: line[(space + 1)...]), &joined, after: merges.last)
                }
            case .array(let halves):
                guard halves.count == 2, case .string(let left) = halves[0], case .string(let right) = halves[1]
                else {
                    throw field[index, value].wrong("two strings")
                }
                merge = left.bytes.withUnsafeBufferPointer { left in
                    right.bytes.withUnsafeBufferPointer { right in self.merge(left, right, &joined, after: merges.last)
                    }
                }
            default: throw field[index, value].wrong("a string or an array of two")
            }
            guard let merge else {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(index)]", found: Self.quoted(value),
                    expected: "two tokens of the vocabulary that together are another")
            }
            merges.append(merge)
        }
        return merges
    }

    /// Returns the merge of two tokens, unless one of them or what they make is none. `joined` is room for the latter.
    /// Most files number tokens in the order of their merges, so the one after that of `last` is tried first.
    private func merge(
        _ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>, _ joined: inout [UInt8],
        after last: BPE.Merge?
    ) -> BPE.Merge? {
        joined.removeAll(keepingCapacity: true)
        joined.append(contentsOf: left)
        joined.append(contentsOf: right)
        let result = joined.withUnsafeBufferPointer { joined in
            if let last, !joined.isEmpty, table.matches(last.result + 1, joined) { return Int32?(last.result + 1) }
            return table.id(of: joined)
        }
        guard let result, let left = table.id(of: left), let right = table.id(of: right) else { return nil }
        return BPE.Merge(left: left, right: right, result: result)
    }

    /// The two tokens of a merge, for a message.
    private static func quoted(_ merge: JSON) -> String {
        switch merge {
        case .string(let line):
            line.bytes.split(separator: 0x20, omittingEmptySubsequences: false)
                .map { JSONString(Array($0)).quoted }.joined(separator: " + ")
        case .array(let halves): halves.map(\.summary).joined(separator: " + ")
        default: merge.summary
        }
    }
}
