/// All that decoding and scoring know of a model: forwards over rows of any sequences, and the states of forwards.
///
/// An object is one opened model. Keys, values and states that it computed are valid only with that model. Any number
/// of threads may run forwards, each over pages of its own.
package protocol Denoiser: AnyObject, Sendable {
    var config: ModelConfig { get }
    var compute: Compute { get }
    /// The format of keys and values: f32 or bf16.
    var kvDType: NumberFormat { get }
    /// A fingerprint: equal for models whose states, keys and values fit each other.
    var fingerprint: ModelFingerprint { get }

    /// What forwards take on this machine, by an estimate.
    var cost: ForwardCost { get }

    /// Runs the batch of `work` and returns the states of the rows that want logits, in their order, which lie in
    /// `memory`. Throws what `checkStop` of `work` throws within some tenths of a second; then the pages are written in
    /// part.
    func forward(_ work: Workspace, observer: Observer?, into memory: StateMemory) throws(LLaDAError) -> FinalStates

    /// Makes the states of an earlier forward from their values.  values: [rows, hidden]
    func finalStates(_ values: Buffer<Float>, rows: Int) throws(LLaDAError) -> FinalStates
}

extension Denoiser {
    /// Runs `batch`, and returns the states of the rows that want logits, in their order. `progress` receives the part
    /// of the layers that is done, and may end the forward.
    package func forward(
        _ batch: Batch, observer: Observer? = nil, progress: Progress? = nil
    ) throws(LLaDAError) -> FinalStates {
        let work = try compute.workspaces.take()
        defer { compute.workspaces.giveBack(work) }
        work.batch = batch
        work.report(to: progress, rows: batch.rows.count, interval: 0)
        return try forward(work, observer: observer, into: StateMemory(in: compute.budget))
    }

    /// Returns the bytes of the keys and values of a block.
    package func pageSize(_ blockLength: Int) -> Int {
        Page.byteCount(blockLength: blockLength, config: config, dtype: kvDType)
    }

    /// Makes a page for this model; see `Page.init`.
    package func makePage(_ blockLength: Int, _ budget: MemoryBudget? = nil) throws(LLaDAError) -> Page {
        try Page(blockLength: blockLength, config: config, dtype: kvDType, budget: budget, model: compute.budget)
    }
}
