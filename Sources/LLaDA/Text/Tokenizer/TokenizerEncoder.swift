/// One call of `encode`: the ids so far, and the room that merging reuses.
struct TokenizerEncoder {
    private let parts: TokenizerParts
    private let reserved: BitSet?
    private(set) var ids: [Int32] = []
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

    init(parts: TokenizerParts, reserved: BitSet?, textLength: Int) {
        self.parts = parts
        self.reserved = reserved
        var size = 64
        while size < textLength / 8, size < 1 << 14 { size *= 2 }
        cache = Array(repeating: Entry(), count: size)
        ids.reserveCapacity(textLength / 4 + 8)
    }

    /// `text` must be valid UTF-8.
    mutating func encode(_ text: UnsafeBufferPointer<UInt8>) {
        let parts = parts
        let reserved = reserved
        func isText(_ token: AddedToken) -> Bool {
            reserved?[Int(token.id)] ?? false
        }
        // As Hugging Face: tokens not to be normalized are found in the raw text, the others in what is left of it
        // after normalization.
        withSelf { encoder in
            parts.rawTokens.split(text, isText: isText) { segment in
                let normalized = parts.nfc?.normalized(segment)
                let body = { (segment: UnsafeBufferPointer<UInt8>) in
                    parts.normalizedTokens.split(segment, isText: isText) { plain in
                        parts.preTokenizer.forEachPiece(of: plain, parts.scalars) { piece in
                            encoder.pointee.append(piece)
                        }
                    } found: { token in
                        encoder.pointee.ids.append(token.id)
                    }
                }
                if let normalized { normalized.withUnsafeBufferPointer(body) } else { body(segment) }
            } found: { token in
                encoder.pointee.ids.append(token.id)
            }
        }
    }

    /// Nested closures may not each capture an inout `self`; none of them outlives the call.
    private mutating func withSelf(_ body: (UnsafeMutablePointer<TokenizerEncoder>) -> Void) {
        withUnsafeMutablePointer(to: &self, body)
    }

    private mutating func append(_ piece: UnsafeBufferPointer<UInt8>) {
        guard piece.count > 1, piece.count <= Self.longestCached, cachedBytes.count < Self.cachedLimit else {
            return merge(piece)
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
                for place in Int(entry.firstID)..<Int(entry.firstID + entry.count) { ids.append(ids[place]) }
                return
            }
        }
        let firstID = ids.count
        merge(piece)
        cache[place] = Entry(
            start: Int32(cachedBytes.count), length: Int32(piece.count), firstID: Int32(firstID),
            count: Int32(ids.count - firstID))
        cachedBytes += piece
    }

    private mutating func merge(_ piece: UnsafeBufferPointer<UInt8>) {
        if let whole = parts.wholePieces?.id(of: piece), !isReserved(whole) { return ids.append(whole) }
        let first = ids.count
        parts.bpe.encode(piece, &scratch, into: &ids)
        guard let reserved else { return }
        // Hardly ever: a control token that merging can make. The text must not become it even so.
        for place in first..<ids.count where isReserved(ids[place]) {
            ids.removeSubrange(first...)
            parts.bpe.encode(piece, &scratch, avoiding: reserved, into: &ids)
            return
        }
    }

    private func isReserved(_ id: Int32) -> Bool {
        reserved?[Int(id)] ?? false
    }
}
