/// Loops over steps. Each of these calls throws what `step` throws.
extension Decoder {
    /// Steps until the end. `afterStep` is called after each step. An error that it throws ends the run and is
    /// rethrown; a later run continues from there.
    public func run(
        _ afterStep: (Decoder) throws(LLaDAError) -> Void = { (_) throws(LLaDAError) in }
    ) throws(LLaDAError) {
        while !isFinished { try step(then: afterStep) }
    }

    /// Steps until the active block is done, its multi-block editing included, or until the end. `afterStep` is as in
    /// `run`. Throws `.state` after the end.
    public func runBlock(
        _ afterStep: (Decoder) throws(LLaDAError) -> Void = { (_) throws(LLaDAError) in }
    ) throws(LLaDAError) {
        try checkUnfinished("run_block")
        let block = state.progress.block
        while !isFinished, state.progress.block == block { try step(then: afterStep) }
    }

    /// Does one step and returns its events; nil after the end.
    public func next() throws(LLaDAError) -> [Event]? {
        if isFinished { return nil }
        try step()
        return events
    }

    private func step(then afterStep: (Decoder) throws(LLaDAError) -> Void) throws(LLaDAError) {
        try step()
        try afterStep(self)
    }
}
