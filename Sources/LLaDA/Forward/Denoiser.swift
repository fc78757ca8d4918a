/// All that decoding and scoring know of a model: forwards over rows of any sequences, and what those leave behind.
///
/// An object is one opened model: keys, values and states that it computed are good for itself alone. Any number of
/// threads may run forwards, each over pages of its own.
package protocol Denoiser: AnyObject, Sendable {
    var config: ModelConfig { get }
    var compute: Compute { get }
    /// How keys and values are held: f32 or bf16.
    var kvDType: NumberFormat { get }
    /// Tells it from models whose states, keys and values would not fit.
    var fingerprint: ModelFingerprint { get }

    /// Runs `batch` and returns the states of the rows that want logits, in their order. Ends at the next layer if one
    /// of `cancellations` is asked for; then pages hold part of what they should.
    func forward(
        _ batch: Batch, cancellations: [Cancellation], observer: Observer?
    ) throws(LLaDAError) -> FinalStates

    /// States that an earlier forward left, by their values: [rows, hidden].
    func finalStates(_ values: Buffer<Float>, rows: Int) throws(LLaDAError) -> FinalStates
}

extension Denoiser {
    /// Bytes of the keys and values of a block.
    package func pageSize(_ blockLength: Int) -> Int {
        Page.byteCount(blockLength: blockLength, config: config, dtype: kvDType)
    }

    /// A page for this model; see `Page.init`.
    package func makePage(_ blockLength: Int, _ budget: PageBudget? = nil) throws(LLaDAError) -> Page {
        try Page(blockLength: blockLength, config: config, dtype: kvDType, budget: budget)
    }
}
