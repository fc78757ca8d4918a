/// The predictions of a forward: for each position a token, and the model's confidence in it.
///
/// Not every row is judged: a row has a prediction if the policy reads it, or once somebody has asked. A copy shares
/// its memory with the original until one of the two makes new predictions.
struct Predictions {
    /// The prediction of a row.
    struct Entry: BitwiseCopyable {
        var token: Int32 = 0
        var confidence: Float = 0
        var isJudged = false
        /// Whether the row ran in the last forward. Others have kept what they had.
        var isComputed = true
    }

    /// The positions of the forward; empty if there are no predictions.
    private(set) var positions = 0..<0
    /// The changes to the logits before they are judged.  [positions.count]
    var adjustments: [LogitAdjustment] = []
    private var tokenBuffer: Buffer<Int32>?  // [at least positions.count]
    private var confidenceBuffer: Buffer<Float>?  // [at least positions.count]
    private var judgedBuffer: Buffer<Bool>?  // [at least positions.count]
    private var computedBuffer: Buffer<Bool>?  // [at least positions.count]

    /// The predicted tokens; 0 where none is.  [positions.count]
    var tokens: UnsafeBufferPointer<Int32> {
        UnsafeBufferPointer(start: tokenBuffer?.pointer, count: tokenBuffer == nil ? 0 : positions.count)
    }

    /// The softmax probabilities of the tokens; 0 where none is.  [positions.count]
    var confidences: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: confidenceBuffer?.pointer, count: confidenceBuffer == nil ? 0 : positions.count)
    }

    /// Whether each position has a prediction.  [positions.count]
    var judged: UnsafeBufferPointer<Bool> {
        UnsafeBufferPointer(start: judgedBuffer?.pointer, count: judgedBuffer == nil ? 0 : positions.count)
    }

    /// Whether each position ran in the last forward.  [positions.count]
    var computed: UnsafeBufferPointer<Bool> {
        UnsafeBufferPointer(start: computedBuffer?.pointer, count: computedBuffer == nil ? 0 : positions.count)
    }

    func token(at position: Int) -> Int32 { tokens[position - positions.lowerBound] }
    func confidence(at position: Int) -> Float { confidences[position - positions.lowerBound] }
    func adjustment(at position: Int) -> LogitAdjustment { adjustments[position - positions.lowerBound] }

    mutating func clear() {
        positions = 0..<0
        adjustments.removeAll(keepingCapacity: true)
    }

    /// Makes unshared room for the predictions of `positions`, and of at least `room` later on. No row is judged, and
    /// the adjustments are still to come.
    mutating func begin(_ positions: Range<Int>, room: Int) throws(LLaDAError) {
        clear()
        try reserve(max(room, positions.count))
        self.positions = positions
        for index in 0..<positions.count { self[index] = Entry() }
    }

    private mutating func reserve(_ rows: Int) throws(LLaDAError) {
        try Self.own(&tokenBuffer, rows)
        try Self.own(&confidenceBuffer, rows)
        try Self.own(&judgedBuffer, rows)
        try Self.own(&computedBuffer, rows)
        try adjustments.reserve(rows)
    }

    /// Takes memory of its own for so many rows, with the same predictions, if there is none or a copy shares it.
    mutating func makeOwn(room: Int) throws(LLaDAError) {
        if tokenBuffer != nil, isKnownUniquelyReferenced(&tokenBuffer) { return }
        let old = self
        adjustments = []
        try reserve(max(room, positions.count))
        adjustments.append(contentsOf: old.adjustments)
        for index in 0..<positions.count { self[index] = old[index] }
    }

    /// The row of `positions[index]`. The memory must be unshared to be written.
    subscript(index: Int) -> Entry {
        get {
            Entry(
                token: tokens[index], confidence: confidences[index], isJudged: judged[index],
                isComputed: computed[index])
        }
        nonmutating set {
            tokenBuffer?.pointer[index] = newValue.token
            confidenceBuffer?.pointer[index] = newValue.confidence
            judgedBuffer?.pointer[index] = newValue.isJudged
            computedBuffer?.pointer[index] = newValue.isComputed
        }
    }

    /// Notes the prediction of a row.
    func note(_ token: Int32, _ confidence: Float, row: Int) {
        self[row] = Entry(token: token, confidence: confidence, isJudged: true, isComputed: computed[row])
    }

    private static func own<Element>(_ buffer: inout Buffer<Element>?, _ count: Int) throws(LLaDAError) {
        if isKnownUniquelyReferenced(&buffer), let buffer, buffer.count >= count { return }
        buffer = try Buffer(count: count)
    }
}
