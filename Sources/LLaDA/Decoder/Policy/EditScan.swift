/// What the policies that delete and insert have in common (spec: decoding.md, section 5).
///
/// They begin with edits as the model predicts them, whose tokens may be those that stand for deletion and insertion,
/// and end with what these mean.
extension DecoderState {
    /// The open masks among the active positions: those of the block's beginning, and those that came by edits.
    var openMasks: (original: Int, added: Int) {
        var masks = (original: 0, added: 0)
        for position in active where canvas.isOpenMask(position) {
            if canvas.original[position] { masks.original += 1 } else { masks.added += 1 }
        }
        return masks
    }

    /// Whether `edits` are about all open masks of the block's beginning.
    func coversOriginalMasks(_ edits: [Decoder.Edit]) -> Bool {
        let covered = edits.count { canvas.isOpenMask($0.position) && canvas.original[$0.position] }
        return covered >= openMasks.original
    }

    /// Turns the tokens that stand for edits into what they mean: the token goes, or a mask comes before it.
    func readEditTokens(_ edits: inout [Decoder.Edit]) {
        guard let editTokens else { return }
        for index in edits.indices {
            if edits[index].token == editTokens.delete {
                edits[index].kind = .delete
                edits[index].token = canvas.token(edits[index].position)
            } else if edits[index].token == editTokens.split {
                edits[index].kind = .insert
                edits[index].token = canvas.maskID
            }
        }
    }

    /// Returns what stands for an edit in a block before the scan: the opposite of `readEditTokens`.
    func token(of edit: Decoder.Edit) -> Int32 {
        switch edit.kind {
        case .write: edit.token
        case .delete: editTokens?.delete ?? -1
        case .insert: editTokens?.split ?? -1
        }
    }

    /// Fills `block` with the active tokens as they are after the edits and before the scan.
    func fill(_ block: inout [Int32], with edits: [Decoder.Edit]) {
        block.removeAll(keepingCapacity: true)
        block.append(contentsOf: canvas.tokens[active])
        for edit in edits { block[edit.position - active.lowerBound] = token(of: edit) }
    }

    /// Gives the edits that would delete or insert, and with `maskToo` those that would write a mask, the most likely
    /// token that does not; without one, the position keeps its token.
    func resolve(_ edits: inout [Decoder.Edit], _ look: SecondLook, maskToo: Bool) throws(LLaDAError) {
        guard let editTokens else { return }
        look.without.removeAll(keepingCapacity: true)
        look.without.append(editTokens.delete)
        look.without.append(editTokens.split)
        if maskToo { look.without.append(canvas.maskID) }
        var (first, last) = (Int.max, Int.min)
        for edit in edits where look.without.contains(edit.token) {
            (first, last) = (min(first, edit.position), max(last, edit.position))
        }
        if first > last { return }
        let found = try look.judge(first..<last + 1)
        for index in edits.indices where look.without.contains(edits[index].token) {
            let position = edits[index].position
            edits[index].token = found.token(at: position) ?? canvas.token(position)
            edits[index].confidence = found.probability(at: position)
        }
    }

    /// Returns the index of the least confident edit that changes something; ties go to the lowest position.
    func leastConfidentChange(_ edits: [Decoder.Edit]) -> Int? {
        var least: Int?
        for (index, edit) in edits.enumerated() where edit.token != canvas.token(edit.position) {
            guard let other = least.map({ edits[$0] }) else {
                least = index
                continue
            }
            let isLess =
                edit.confidence < other.confidence
                || (edit.confidence == other.confidence && edit.position < other.position)
            if isLess { least = index }
        }
        return least
    }
}
