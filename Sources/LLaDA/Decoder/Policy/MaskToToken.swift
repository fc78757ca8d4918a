/// Filling masks by confidence (spec: decoding.md, sections 1 and 2). All comparisons are strict, ties go to the
/// lowest position.
enum MaskToToken {
    /// The masks to fill: those with confidence > threshold, or, if these are fewer than `atLeast`, that many of the most
    /// confident.
    static func choose(
        _ masks: [Int], confidence: (Int) -> Float, threshold: Float, atLeast: Int
    ) -> (positions: [Int], isFallback: Bool) {
        let high = masks.filter { confidence($0) > threshold }
        if high.count >= atLeast { return (high, false) }
        let ranked = masks.sorted { a, b in
            let (first, second) = (confidence(a), confidence(b))
            return first != second ? first > second || (second.isNaN && !first.isNaN) : a < b
        }
        return (ranked.prefix(atLeast).sorted(), true)
    }

    /// LLaDA2.0: how many tokens step `step` of a block has to write at least, of `steps`.
    static func quota(step: Int, steps: Int, blockLength: Int) -> Int {
        blockLength / steps + (step < blockLength % steps ? 1 : 0)
    }
}

/// Editing tokens already written (spec: decoding.md, section 2; 2.1 report, eq. 2).
enum TokenToToken {
    /// The positions whose predicted token is another, with confidence > threshold.
    static func choose(
        _ positions: [Int], current: (Int) -> Int32, predicted: (Int) -> Int32, confidence: (Int) -> Float,
        threshold: Float
    ) -> [Int] {
        positions.filter { predicted($0) != current($0) && confidence($0) > threshold }
    }
}
