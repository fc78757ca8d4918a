import Kernels

/// One sequence's keys and values, and the forwards that keep them true.
///
/// Every page remembers the tokens it was computed from. A page holds for a canvas as long as its tokens and those of
/// all pages before are the canvas's: so nothing has to be invalidated, a block is committed by the last forward over
/// its final tokens, and where no forward had them, its rows ride along in the next one (spec: decoding.md, section 8).
package final class CachedSequence {
    private let transformer: Transformer
    private let blockLength: Int
    private let cancellation: Cancellation?
    private var pages: [Page] = []
    /// The tokens of the pages that hold; an incomplete last block only ever counts as its own length.
    private var computed: [Int32] = []
    /// Pages for a window that is run as one block: its keys and values are nobody else's.
    private var windowPages: [Page] = []
    private var work: Workspace
    private var states: FinalStates?  // of the last forward
    package var observer: Observer?

    /// Rows of a forward when many wait: whole blocks, so that activations stay bounded.
    package static func mostRows(blockLength: Int) -> Int { max(blockLength, 512 / blockLength * blockLength) }

    package init(_ transformer: Transformer, blockLength: Int, cancellation: Cancellation? = nil) throws(LLaDAError) {
        self.transformer = transformer
        self.blockLength = blockLength
        self.cancellation = cancellation
        work = try Workspace()
    }

    /// Forgets all keys and values.
    package func reset() { computed = [] }

    /// Runs the model over tokens[active], given all before. `asOneBlock` lets the active positions, of several blocks, see
    /// each other (spec: decoding.md, section 7). Returns how many forwards went ahead of it.
    package func forward(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool
    ) throws(LLaDAError) -> Int {
        states = nil
        let held = holding(tokens)
        var start = min(held, active.lowerBound)
        // A window leaves the pages of its blocks alone; a block that is run anew replaces its page.
        computed.removeLast(computed.count - (asOneBlock ? held : start))
        while pages.count * blockLength < active.upperBound {
            pages.append(try Page(blockLength: blockLength, config: transformer.config, type: transformer.keyValues))
        }
        // What is missing before the active positions goes first, in pieces, unless it fits into the same forward.
        let piece = Self.mostRows(blockLength: blockLength)
        var ahead = 0
        while active.upperBound - start > piece, active.lowerBound - start > 0 {
            let end = min(start + piece, active.lowerBound)
            try run(tokens, start..<end, wanting: end..<end)
            start = end
            ahead += 1
        }
        if asOneBlock {
            try runWindow(tokens, active, from: start)
        } else {
            try run(tokens, start..<active.upperBound, wanting: active)
        }
        return ahead
    }

    /// How many positions, in whole blocks, have keys and values computed from these tokens.
    private func holding(_ tokens: UnsafeBufferPointer<Int32>) -> Int {
        var same = 0
        let most = min(computed.count, tokens.count)
        while same < most, computed[same] == tokens[same] { same += 1 }
        return same / blockLength * blockLength
    }

    private func run(
        _ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>, wanting: Range<Int>
    ) throws(LLaDAError) {
        try run(Batch(rows: rows(tokens, range, wanting: wanting), pages: [pages], blockLength: blockLength))
        computed.append(contentsOf: tokens[range])
    }

    /// The window, and with it what is missing before it: two sequences that share the pages up to the window.
    private func runWindow(_ tokens: UnsafeBufferPointer<Int32>, _ window: Range<Int>, from start: Int) throws(LLaDAError) {
        while windowPages.count * blockLength < window.count {
            windowPages.append(try Page(blockLength: blockLength, config: transformer.config, type: transformer.keyValues))
        }
        let missing = start..<window.lowerBound
        let rows = rows(tokens, missing, wanting: missing.upperBound..<missing.upperBound) + window.map { position in
            Row(sequence: 1, position: position, token: tokens[position], visibleEnd: window.upperBound, wantsLogits: true)
        }
        let windowed = Array(pages[..<(window.lowerBound / blockLength)]) + windowPages
        try run(Batch(rows: rows, pages: [pages, windowed], blockLength: blockLength))
        computed.append(contentsOf: tokens[missing])
    }

    /// Of positions under the strict mask.
    private func rows(_ tokens: UnsafeBufferPointer<Int32>, _ range: Range<Int>, wanting: Range<Int>) -> [Row] {
        range.map { position in
            Row(
                position: position, token: tokens[position],
                visibleEnd: BlockCausalMask.visibleEnd(of: position, blockLength: blockLength, length: range.upperBound),
                wantsLogits: wanting.contains(position))
        }
    }

    private func run(_ batch: Batch) throws(LLaDAError) {
        states = try transformer.forward(batch, &work, cancellation: cancellation, observer: observer)
    }
}

extension CachedSequence: Denoiser {
    package var vocabSize: Int { transformer.config.vocabSize }

    package func logits(_ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        if let states { transformer.logits(states, vocabulary, into: out, stride: stride) }
    }
}
