/// Loops over steps.
extension Decoder {
    /// Steps until the end. What `afterStep` throws ends the run and is thrown; a later run goes on from there.
    public func run(_ afterStep: ((Decoder) throws(LLaDAError) -> Void)? = nil) throws(LLaDAError) {
        while !isFinished { try step(then: afterStep) }
    }

    /// Steps until the active block is done, its revisiting included, or until the end.
    public func runBlock(_ afterStep: ((Decoder) throws(LLaDAError) -> Void)? = nil) throws(LLaDAError) {
        try checkUnfinished("run_block")
        let block = state.progress.block
        while !isFinished, state.progress.block == block { try step(then: afterStep) }
    }

    /// The events of one step more; nil at the end.
    public func next() throws(LLaDAError) -> [Event]? {
        if isFinished { return nil }
        try step()
        return events
    }

    private func step(then afterStep: ((Decoder) throws(LLaDAError) -> Void)?) throws(LLaDAError) {
        try step()
        try afterStep?(self)
    }
}
