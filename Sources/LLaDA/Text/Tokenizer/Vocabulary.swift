/// `model.vocab` and `model.merges`, checked. Contents are as the file writes them, in the byte alphabet.
struct Vocabulary {
    private let members: JSONObject.Members
    /// The place of each id's token in the file, plus one; 0 for an id that has no token.
    private let places: Buffer<UInt32>  // [ids]
    let table: TokenBytes
    /// The number of tokens.
    let count: Int
    /// The bytes of all contents.
    let byteCount: Int

    /// Ids may leave gaps. Up to here it does not matter how many, and beyond it they may not be more than tokens: what
    /// is held for each id must not be much for a small file.
    private static let freeIDs = 1 << 20

    init(_ field: JSONField) throws(LLaDAError) {
        members = try field.object().members
        var (largest, count, byteCount) = (-1, 0, 0)
        for (key, value) in members {
            try Reserve.check()
            guard case .integer(let id) = value, id >= 0, id < TokenizerParts.idLimit else {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(key.quoted)]", found: value.summary,
                    expected: "an integer from 0 to \(TokenizerParts.idLimit - 1)")
            }
            largest = max(largest, id)
            count += 1
            byteCount += key.count
        }
        if largest >= max(Self.freeIDs, 2 * count) {
            throw LLaDAError(
                .tokenizer, file: field.file, key: field.key, found: "\(count) tokens with ids up to \(largest)",
                expected: "ids of which half are used")
        }
        places = try Buffer(count: largest + 1, repeating: 0)
        self.count = count
        self.byteCount = byteCount
        var iterator = members.makeIterator()
        while let (key, value) = iterator.next() {
            try Reserve.check()
            guard case .integer(let id) = value else { continue }
            if let other = Self.content(id, places, members) {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(key.quoted)]", found: "\(id)",
                    expected: "an id that is not that of \(other.quoted)")
            }
            places.pointer[id] = iterator.keyPlace + 1
        }
        let (places, members) = (places, members)
        table = try TokenBytes(count: places.count, byteCount: byteCount) { id in
            Self.content(id, places, members).map { .plain($0) }
        }
    }

    /// The largest id, plus one.
    var idEnd: Int { places.count }

    /// Returns the content of an id; nil if it has no token.
    func content(_ id: Int) -> JSONString? { Self.content(id, places, members) }

    private static func content(
        _ id: Int, _ places: Buffer<UInt32>, _ members: JSONObject.Members
    ) -> JSONString? {
        guard id >= 0, id < places.count, places.pointer[id] > 0 else { return nil }
        return members.key(at: places.pointer[id] - 1)
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

    func bpe(_ field: JSONField, byteIDs: [Int32]) throws(LLaDAError) -> BPE {
        let list = try field.array()
        let most = list.count
        guard most <= TokenizerParts.idLimit else {
            throw field.wrong("at most \(TokenizerParts.idLimit) merges")
        }
        let merges = try Buffer<BPE.Merge>(count: most)
        let joined = try Buffer<UInt8>(count: table.longest)
        var count = 0
        var index = 0
        for value in list {
            defer { index += 1 }
            try Reserve.check()
            let last = count == 0 ? nil : merges.pointer[count - 1].result
            let merge: BPE.Merge?
            switch value {
            case .string(let line):
                if line.hasPrefix("#version") { continue }
                merge = try line.withBytes { (line) throws(LLaDAError) in
                    guard let space = line.firstIndex(of: 0x20), !line[(space + 1)...].contains(0x20) else {
                        throw field[index, value].wrong("two tokens with one space between them")
                    }
                    return self.merge(
                        UnsafeBufferPointer(rebasing: line[..<space]),
                        UnsafeBufferPointer(rebasing: line[(space + 1)...]), joined, after: last)
                }
            case .array(let halves):
                var iterator = halves.makeIterator()
                guard case .string(let left)? = iterator.next(), case .string(let right)? = iterator.next(),
                    iterator.next() == nil
                else {
                    throw field[index, value].wrong("two strings")
                }
                merge = left.withBytes { left in
                    right.withBytes { right in self.merge(left, right, joined, after: last) }
                }
            default: throw field[index, value].wrong("a string or an array of two")
            }
            guard let merge else {
                throw LLaDAError(
                    .tokenizer, file: field.file, key: "\(field.key)[\(index)]", found: Self.quoted(value),
                    expected: "two tokens of the vocabulary that together are another")
            }
            merges.pointer[count] = merge
            count += 1
        }
        // A pair is a token and a place to cut it, before or behind one of its bytes.
        return try BPE(merges, count: count, mostPairs: min(count, byteCount + self.count), byteIDs: byteIDs)
    }

    /// Returns the merge of two tokens, unless one of them or what they make is none. `joined` is room for the latter.
    /// Most files number tokens in the order of their merges, so the one after `last` is tried first.
    private func merge(
        _ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>, _ joined: Buffer<UInt8>,
        after last: Int32?
    ) -> BPE.Merge? {
        let count = left.count + right.count
        if count > table.longest { return nil }
        if let base = left.baseAddress { joined.pointer.update(from: base, count: left.count) }
        if let base = right.baseAddress { (joined.pointer + left.count).update(from: base, count: right.count) }
        let bytes = UnsafeBufferPointer(start: joined.pointer, count: count)
        let result: Int32?
        if let last, count > 0, table.matches(last + 1, bytes) {
            result = last + 1
        } else {
            result = table.id(of: bytes)
        }
        guard let result, let left = table.id(of: left), let right = table.id(of: right) else { return nil }
        return BPE.Merge(left: left, right: right, result: result)
    }

    /// The two tokens of a merge, for a message.
    private static func quoted(_ merge: JSON) -> String {
        switch merge {
        case .string(let line):
            line.withBytes { line in
                line.split(separator: 0x20, omittingEmptySubsequences: false)
                    .map { JSONString($0).quoted }.joined(separator: " + ")
            }
        case .array(let halves): halves.map(\.summary).joined(separator: " + ")
        default: merge.summary
        }
    }
}
