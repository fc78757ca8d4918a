/// What opening a model takes of memory, from headers and small files alone. Weights that are used in place in a mapped
/// file do not count: they are the system's cache.
struct OpeningMemory {
    /// The most bytes at a time.
    let peak: Int
    private let weights: Int
    private let smallFiles: Int

    /// `sizes` are of weights that were measured for the threads that will read them.
    init(_ source: any TensorSource, _ sizes: Weights.Sizes) {
        weights = sizes.byteCount
        smallFiles = source.memory.smallBytes
        let tokenizer = source.sideFiles.byteCount(of: .tokenizer)
        peak =
            source.memory.taken + weights + max(MemoryBudget.smallFileMultiple * tokenizer, sizes.scratchBytes)
    }

    /// The bytes that stay, without the tables of the tokenizer. A model that can be saved keeps the
    /// small files.
    func held(isSaveable: Bool) -> Int { weights + (isSaveable ? smallFiles : 0) }
}
