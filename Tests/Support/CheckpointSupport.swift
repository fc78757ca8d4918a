import LLaDA

extension Checkpoint {
    /// The names of the tensors that nobody has asked for yet and that cannot be left out, sorted.
    package var unusedTensors: [String] {
        var names: [String] = []
        forEachUnasked { _, name, surplus in if surplus == nil { names.append(name.string) } }
        return names.sorted()
    }
}
