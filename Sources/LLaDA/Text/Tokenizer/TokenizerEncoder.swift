/// One call of `encode`: the ids so far, and the room that merging reuses.
struct TokenizerEncoder {
    private let parts: TokenizerParts
    private let reserved: BitSet?
    private(set) var ids: [Int32] = []
    /// Why there are no more ids: there is no memory. What is left of the text is passed over.
    private var failure: LLaDAError?
    private var scratch = BPE.Scratch()

    /// Pieces already encoded in this text, by hash; a later piece displaces an earlier one. Belongs to the call, since
    /// a tokenizer is shared by threads and keeps no state.
    private var cache: [Entry]
    private var cachedBytes: [UInt8] = []

    private struct Entry {
        /// In `cachedBytes`; nothing when `length` is 0.
        var start: Int32 = 0
        var length: Int32 = 0
        /// In `ids`.
        var firstID: Int32 = 0
        var count: Int32 = 0
    }

    private static let longestCached = 64
    private static let cachedLimit = 1 << 24

    /// Throws `.outOfMemory`.
    init(parts: TokenizerParts, reserved: BitSet?, textLength: Int) throws(LLaDAError) {
        self.parts = parts
        self.reserved = reserved
        var size = 64
        while size < textLength / 8, size < 1 << 14 { size *= 2 }
        let room = try Reserve.Room(64 + size * MemoryLayout<Entry>.stride)
        defer { room.close() }
        cache = Array(repeating: Entry(), count: size)
        try ids.makeRoom(for: textLength / 4 + 8)
    }

    /// `text` must be valid UTF-8. Throws `.outOfMemory`.
    mutating func encode(_ text: UnsafeBufferPointer<UInt8>) throws(LLaDAError) {
        let room = try Reserve.Room(parts.preTokenizer.memory(for: text.count))
        defer { room.close() }
        encodeParts(of: text)
        if let failure { throw failure }
        try Reserve.check()
    }

    private mutating func encodeParts(of text: UnsafeBufferPointer<UInt8>) {
        let parts = parts
        let reserved = reserved
        func isText(_ token: AddedToken) -> Bool {
            reserved?[Int(token.id)] ?? false
        }
        // As Hugging Face: tokens not to be normalized are found in the raw text, the others in what is left of it
        // after normalization.
        withSelf { encoder in
            parts.rawTokens.split(text, isText: isText) { segment in
                var normalized: [UInt8]?
                encoder.pointee.attempt { (_) throws(LLaDAError) in normalized = try parts.nfc?.normalized(segment) }
                let body = { (segment: UnsafeBufferPointer<UInt8>) in
                    parts.normalizedTokens.split(segment, isText: isText) { plain in
                        parts.preTokenizer.forEachPiece(of: plain, parts.scalars) { piece in
                            encoder.pointee.attempt { (encoder) throws(LLaDAError) in try encoder.append(piece) }
                        }
                    } found: { token in
                        encoder.pointee.attempt { (encoder) throws(LLaDAError) in try encoder.append(token) }
                    }
                }
                if let normalized { normalized.withUnsafeBufferPointer(body) } else { body(segment) }
            } found: { token in
                encoder.pointee.attempt { (encoder) throws(LLaDAError) in try encoder.append(token) }
            }
        }
    }

    /// Nested closures may not each capture an inout `self`; none of them outlives the call.
    private mutating func withSelf(_ body: (UnsafeMutablePointer<TokenizerEncoder>) -> Void) {
        withUnsafeMutablePointer(to: &self, body)
    }

    /// Runs a part of the work, unless one before has failed.
    @inline(__always)
    private mutating func attempt(_ work: (inout TokenizerEncoder) throws(LLaDAError) -> Void) {
        if failure != nil { return }
        do throws(LLaDAError) {
            try work(&self)
        } catch {
            failure = error
        }
    }

    private mutating func append(_ token: AddedToken) throws(LLaDAError) {
        try ids.makeRoom()
        ids.append(token.id)
    }

    private mutating func append(_ piece: UnsafeBufferPointer<UInt8>) throws(LLaDAError) {
        guard piece.count > 1, piece.count <= Self.longestCached, cachedBytes.count < Self.cachedLimit else {
            return try merge(piece)
        }
        let place = Int(truncatingIfNeeded: parts.hash(piece)) & (cache.count - 1)
        let entry = cache[place]
        if Int(entry.length) == piece.count {
            let isSame = cachedBytes.withUnsafeBufferPointer { bytes in
                let start = Int(entry.start)
                for offset in piece.indices where bytes[start + offset] != piece[offset] { return false }
                return true
            }
            if isSame {
                try ids.makeRoom(for: Int(entry.count))
                for place in Int(entry.firstID)..<Int(entry.firstID + entry.count) { ids.append(ids[place]) }
                return
            }
        }
        let firstID = ids.count
        try merge(piece)
        try cachedBytes.makeRoom(for: piece.count)
        cache[place] = Entry(
            start: Int32(cachedBytes.count), length: Int32(piece.count), firstID: Int32(firstID),
            count: Int32(ids.count - firstID))
        cachedBytes += piece
    }

    private mutating func merge(_ piece: UnsafeBufferPointer<UInt8>) throws(LLaDAError) {
        try ids.makeRoom()
        if let whole = parts.wholePieces?.id(of: piece), !isReserved(whole) { return ids.append(whole) }
        let first = ids.count
        try parts.bpe.encode(piece, &scratch, into: &ids)
        guard let reserved else { return }
        // Hardly ever: a control token that merging can make. The text must not become it even so.
        for place in first..<ids.count where isReserved(ids[place]) {
            ids.removeSubrange(first...)
            try parts.bpe.encode(piece, &scratch, avoiding: reserved, into: &ids)
            return
        }
    }

    private func isReserved(_ id: Int32) -> Bool {
        reserved?[Int(id)] ?? false
    }
}
