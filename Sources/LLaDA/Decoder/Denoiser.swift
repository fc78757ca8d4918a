/// All that decoding knows of a model: logits for the active positions of a canvas, the rows of its last forward. Policies
/// are tested on scripts.
package protocol Denoiser: AnyObject, LogitSource {
    /// Runs the model over tokens[active], given all before; with `asOneBlock` the active positions, of several blocks, see
    /// each other. Returns how many forwards over earlier positions went ahead of it.
    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) throws(LLaDAError) -> Int

    /// Decoding has ended; the first `settled` tokens are final.
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int)

    /// Forgets what it has cached, all but the last forward.
    func reset()

    /// Another one that is where this one is.
    func fork(_ cancellation: Cancellation) -> any Denoiser

    /// Positions that were run through the model, and those whose keys and values others had computed before.
    var computedPositions: Int { get }
    var reusedPositions: Int { get }
}
