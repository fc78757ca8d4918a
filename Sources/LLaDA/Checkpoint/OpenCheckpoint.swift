/// Opens the checkpoint at `path`: a folder as Hugging Face lays it out, a GGUF file, or a folder whose weights are in
/// one. No weights are read yet. What is read counts towards `budget`. `progress` receives the part done, from 0 to 1.
/// An error that it throws ends the opening and is rethrown.
package func openCheckpoint(
    _ path: String, budget: MemoryBudget? = nil, progress: Progress? = nil
) throws(LLaDAError) -> any TensorSource {
    if let file = try ggufFile(at: path) {
        return try GGUFCheckpoint.open(file, budget: budget, progress: progress)
    }
    return try Checkpoint.open(path, budget: budget, progress: progress)
}

/// Returns the GGUF file that `path` is, or that the folder there has in place of other weights; nil if there is none.
package func ggufFile(at path: String) throws(LLaDAError) -> String? {
    guard let names = try FolderListing.names(path) else {
        return try InputFile.begins(path, with: GGUF.magic) ? path : nil
    }
    let others = [Checkpoint.singleFileName.string, ShardIndex.fileName]
    if names.contains(where: { others.contains($0) }) { return nil }
    // Of several parts of a model, the first stands for all.
    let files = names.filter { $0.hasSuffix(".gguf") }
    let models = Set(files.map { GGUFSplit.Path("\(path)/\($0)").path(0) }).sorted()
    if models.count > 1 {
        throw LLaDAError(
            .unsupported, "\(path) has several GGUF models: \(files.sorted().joined(separator: ", ")); name one of them"
        )
    }
    return models.first
}
