/// The predictions of a forward: for each position a token, and the model's confidence in it.
///
/// A copy shares its memory with the original until one of the two makes new predictions.
struct Predictions {
    /// The positions of the forward; empty if there are no predictions.
    private(set) var positions = 0..<0
    /// The changes to the logits before they were judged.  [positions.count]
    var adjustments: [LogitAdjustment] = []
    private var tokenBuffer: Buffer<Int32>?  // [at least positions.count]
    private var confidenceBuffer: Buffer<Float>?  // [at least positions.count]

    /// The predicted tokens.  [positions.count]
    var tokens: UnsafeBufferPointer<Int32> {
        UnsafeBufferPointer(start: tokenBuffer?.pointer, count: tokenBuffer == nil ? 0 : positions.count)
    }

    /// The softmax probabilities of the tokens.  [positions.count]
    var confidences: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: confidenceBuffer?.pointer, count: confidenceBuffer == nil ? 0 : positions.count)
    }

    func token(at position: Int) -> Int32 { tokens[position - positions.lowerBound] }
    func confidence(at position: Int) -> Float { confidences[position - positions.lowerBound] }
    func adjustment(at position: Int) -> LogitAdjustment { adjustments[position - positions.lowerBound] }

    mutating func clear() {
        positions = 0..<0
        adjustments.removeAll(keepingCapacity: true)
    }

    /// Makes unshared, uninitialised room for the predictions of `positions`, and of at least `room` later on. Returns
    /// it: [positions.count] each. The adjustments are still to come.
    mutating func begin(
        _ positions: Range<Int>, room: Int
    ) throws(LLaDAError) -> (tokens: UnsafeMutablePointer<Int32>, confidences: UnsafeMutablePointer<Float>) {
        clear()
        let tokens = try Self.own(&tokenBuffer, max(room, positions.count))
        let confidences = try Self.own(&confidenceBuffer, max(room, positions.count))
        try adjustments.reserve(max(room, positions.count))
        self.positions = positions
        return (tokens, confidences)
    }

    /// Writes the predictions of a batch into the room that `begin` has made.  tokens, confidences: [positions.count]
    mutating func fill(_ tokens: UnsafePointer<Int32>, _ confidences: UnsafePointer<Float>) {
        tokenBuffer?.pointer.update(from: tokens, count: positions.count)
        confidenceBuffer?.pointer.update(from: confidences, count: positions.count)
    }

    private static func own<Element>(
        _ buffer: inout Buffer<Element>?, _ count: Int
    ) throws(LLaDAError) -> UnsafeMutablePointer<Element> {
        if isKnownUniquelyReferenced(&buffer), let buffer, buffer.count >= count { return buffer.pointer }
        let fresh = try Buffer<Element>(count: count)
        buffer = fresh
        return fresh.pointer
    }
}
