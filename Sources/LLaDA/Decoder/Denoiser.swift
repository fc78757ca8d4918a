/// All that decoding knows of a model: logits for the active positions of a canvas. Policies are tested on scripts.
package protocol Denoiser: AnyObject {
    var vocabSize: Int { get }

    /// Logits of tokens[active], given all before; with `asOneBlock` the active positions, of several blocks, see each
    /// other. logits: [active.count, vocab]. Returns how many forwards over earlier positions went ahead of it.
    func logits(
        _ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool,
        into logits: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) -> Int

    /// Forgets what it has cached.
    func reset()
}
