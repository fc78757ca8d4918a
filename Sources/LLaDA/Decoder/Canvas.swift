/// The tokens that are being denoised: the prompt, then whatever is generated, in whole blocks.
///
/// The state of a position is stored and never guessed from its token. Only `.masked` positions hold the mask id.
struct Canvas {
    let maskID: Int32
    let blockLength: Int
    let promptLength: Int
    let count: Int
    private let tokenBuffer: Buffer<Int32>  // [count]
    private let stateBuffer: Buffer<UInt8>  // [count], Decoder.PositionState
    private let writtenBuffer: Buffer<Int32>  // [count], see `written`
    private let lockedBuffer: Buffer<Bool>  // [count]
    private let originalBuffer: Buffer<Bool>  // [count], see `isOriginal`

    /// Makes a canvas. Mask ids in the prompt become masked positions. Throws `.outOfMemory`.
    init(prompt: [Int32], genLength: Int, blockLength: Int, maskID: Int32) throws(LLaDAError) {
        self.maskID = maskID
        self.blockLength = blockLength
        promptLength = prompt.count
        count = (prompt.count + genLength + blockLength - 1) / blockLength * blockLength
        tokenBuffer = try Buffer(count: count)
        stateBuffer = try Buffer(count: count)
        writtenBuffer = try Buffer(count: count)
        lockedBuffer = try Buffer(count: count)
        originalBuffer = try Buffer(count: count)
        for position in 0..<count {
            lockedBuffer.pointer[position] = false
            originalBuffer.pointer[position] = false
            let token = position < prompt.count ? prompt[position] : maskID
            tokenBuffer.pointer[position] = token
            stateBuffer.pointer[position] = (token == maskID ? Decoder.PositionState.masked : .prompt).rawValue
            writtenBuffer.pointer[position] = 0
        }
    }

    /// Restores a canvas.  tokens, states, written, locked, original: [count]
    init(
        tokens: [Int32], states: [Decoder.PositionState], written: [Int32], locked: [Bool], original: [Bool],
        promptLength: Int, blockLength: Int, maskID: Int32
    ) throws(LLaDAError) {
        (self.maskID, self.blockLength, self.promptLength) = (maskID, blockLength, promptLength)
        count = tokens.count
        tokenBuffer = try Buffer(count: count)
        stateBuffer = try Buffer(count: count)
        writtenBuffer = try Buffer(count: count)
        lockedBuffer = try Buffer(count: count)
        originalBuffer = try Buffer(count: count)
        for position in 0..<count {
            originalBuffer.pointer[position] = original[position]
            tokenBuffer.pointer[position] = tokens[position]
            stateBuffer.pointer[position] = states[position].rawValue
            writtenBuffer.pointer[position] = written[position]
            lockedBuffer.pointer[position] = locked[position]
        }
    }

    init(copying other: Canvas) throws(LLaDAError) {
        (maskID, blockLength, promptLength, count) = (other.maskID, other.blockLength, other.promptLength, other.count)
        tokenBuffer = try Buffer(count: count)
        stateBuffer = try Buffer(count: count)
        writtenBuffer = try Buffer(count: count)
        writtenBuffer.pointer.update(from: other.writtenBuffer.pointer, count: count)
        tokenBuffer.pointer.update(from: other.tokenBuffer.pointer, count: count)
        stateBuffer.pointer.update(from: other.stateBuffer.pointer, count: count)
        lockedBuffer = try Buffer(count: count)
        lockedBuffer.pointer.update(from: other.lockedBuffer.pointer, count: count)
        originalBuffer = try Buffer(count: count)
        originalBuffer.pointer.update(from: other.originalBuffer.pointer, count: count)
    }

    var tokens: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: tokenBuffer.pointer, count: count) }
    var states: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: stateBuffer.pointer, count: count) }
    var locked: UnsafeBufferPointer<Bool> { UnsafeBufferPointer(start: lockedBuffer.pointer, count: count) }
    /// The step map: the number of the forward after which each token was last written; 0 where nothing was.
    var written: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: writtenBuffer.pointer, count: count) }
    /// Whether the mask of each position, or the mask before its token, was there when its block began, and did not
    /// come by an edit. This moves with the token.
    var original: UnsafeBufferPointer<Bool> { UnsafeBufferPointer(start: originalBuffer.pointer, count: count) }
    var blockCount: Int { count / blockLength }

    func block(_ index: Int) -> Range<Int> { index * blockLength..<(index + 1) * blockLength }

    func token(_ position: Int) -> Int32 { tokenBuffer.pointer[position] }

    func state(_ position: Int) -> Decoder.PositionState {
        Decoder.PositionState(rawValue: stateBuffer.pointer[position]) ?? .prompt
    }

    /// Whether a position has a mask that a policy may fill.
    func isOpenMask(_ position: Int) -> Bool { state(position) == .masked && !locked[position] }

    /// Whether a position has a token that a policy may edit.
    func isEditable(_ position: Int) -> Bool {
        (state(position) == .draft || state(position) == .settled) && !locked[position]
    }

    /// Writes a token as a draft, or masks the position. Returns the kind of the change; nil if nothing changed. A
    /// prompt token stays prompt, and a settled token stays settled, unless it is masked.
    mutating func write(_ token: Int32, at position: Int, afterForward forward: Int) -> Decoder.Event.Kind? {
        let before = state(position)
        if token == self.token(position) { return nil }
        tokenBuffer.pointer[position] = token
        writtenBuffer.pointer[position] = token == maskID ? 0 : Int32(clamping: forward)
        if token == maskID {
            set(.masked, at: position)
            return .remask
        }
        if before == .masked { set(.draft, at: position) }
        return before == .masked ? .unmask : .replace
    }

    mutating func lock(_ position: Int, _ isLocked: Bool) { lockedBuffer.pointer[position] = isLocked }

    /// Makes the drafts in `range` final. Masks stay masks.
    mutating func settle(_ range: Range<Int>) {
        for position in range where state(position) == .draft { set(.settled, at: position) }
    }

    /// Masks and unlocks all positions from `start` on, except those of the prompt.
    mutating func truncate(to start: Int) {
        for position in start..<count where state(position) != .prompt {
            tokenBuffer.pointer[position] = maskID
            writtenBuffer.pointer[position] = 0
            set(.masked, at: position)
            lockedBuffer.pointer[position] = false
        }
    }

    private func set(_ state: Decoder.PositionState, at position: Int) {
        stateBuffer.pointer[position] = state.rawValue
    }
}

/// Tokens that move. A token takes its state with it, when it was written, and whether its mask was original. Tokens
/// of the prompt and locked positions stay where they are: nothing moves across them, nor from block to block.
extension Canvas {
    /// Notes the masks with which a block begins.
    mutating func noteOriginal(_ block: Range<Int>) {
        for position in block { originalBuffer.pointer[position] = state(position) == .masked }
    }

    /// Returns the end of the positions from `position` on that move together.
    func endOfMove(from position: Int) -> Int {
        let end = block(position / blockLength).upperBound
        return (position..<end).first { state($0) == .prompt || locked[$0] } ?? end
    }

    /// Takes out the token at `position`. Those behind it, up to `end`, move up, and a mask comes in at the end.
    mutating func remove(at position: Int, upTo end: Int) {
        move(from: position + 1, to: position, count: end - position - 1)
        put(maskID, at: end - 1, written: 0)
    }

    /// Puts a token in at `position`. Those from there on, up to `end`, move back, and the last one is lost.
    mutating func insert(_ token: Int32, at position: Int, upTo end: Int, afterForward forward: Int) {
        move(from: position, to: position + 1, count: end - position - 1)
        put(token, at: position, written: token == maskID ? 0 : Int32(clamping: forward))
    }

    private func move(from source: Int, to target: Int, count: Int) {
        func move<Element>(_ buffer: Buffer<Element>) {
            (buffer.pointer + target).update(from: buffer.pointer + source, count: count)
        }
        move(tokenBuffer)
        move(stateBuffer)
        move(writtenBuffer)
        move(originalBuffer)
    }

    private func put(_ token: Int32, at position: Int, written: Int32) {
        tokenBuffer.pointer[position] = token
        stateBuffer.pointer[position] = (token == maskID ? Decoder.PositionState.masked : .draft).rawValue
        writtenBuffer.pointer[position] = written
        originalBuffer.pointer[position] = false
    }
}
