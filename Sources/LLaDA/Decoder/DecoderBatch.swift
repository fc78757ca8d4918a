/// Functions that run several decoders of one model together. One forward serves them all, so that weights are read
/// once. Each decoder may have its own length, block, step and policy, and gets the same bits as alone.
///
/// All functions throw `.invalidArgument` if a decoder is there twice or the decoders have different models.
public enum DecoderBatch {
    /// Runs `Decoder.forward` of each decoder. After an error, some decoders have done their forward and others have
    /// not; each can continue from there.
    public static func forward(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("forward") }
        var pending: [Pending] = []
        for decoder in decoders { pending.append(try decoder.prepareForward()) }
        try Pending.run(pending) { (range, states) throws(LLaDAError) in
            try finish(decoders[range], ahead: pending[range].map(\.aheadCount), states)
        }
    }

    /// Does the rest of each decoder's current step: those of `forward`, `propose` and `apply` that have not been
    /// called.
    public static func step(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("step") }
        try forward(decoders.filter { $0.phase == .ready })
        for decoder in decoders { try decoder.step() }
    }

    /// Steps all decoders to their ends, at most `mostInFlight` at a time. When one finishes, the next one joins, in
    /// their order. A finished decoder releases its keys and values, or leaves them to its prefix cache. `afterStep` is
    /// called for each decoder after each of its steps. An error that it throws ends the run and is rethrown; a later
    /// run continues from there. Throws `.invalidArgument` unless `mostInFlight` is positive.
    public static func run(
        _ decoders: [Decoder], mostInFlight: Int = .max, _ afterStep: ((Decoder) throws(LLaDAError) -> Void)? = nil
    ) throws(LLaDAError) {
        try check(decoders)
        guard mostInFlight > 0 else {
            throw LLaDAError(.invalidArgument, "most_in_flight is \(mostInFlight); expected at least 1")
        }
        while true {
            let working = Array(decoders.lazy.filter { !$0.isFinished }.prefix(mostInFlight))
            if working.isEmpty { return }
            try step(working)
            var stop: LLaDAError?
            for decoder in working {
                do throws(LLaDAError) { try afterStep?(decoder) } catch { stop = stop ?? error }
                if decoder.isFinished { decoder.sequence.reset() }
            }
            if let stop { throw stop }
        }
    }

    /// Makes the predictions of the decoders that ran together.
    private static func finish(
        _ decoders: ArraySlice<Decoder>, ahead: [Int], _ states: FinalStates
    ) throws(LLaDAError) {
        for (decoder, ahead) in zip(decoders, ahead) { decoder.noteAhead(ahead) }
        let before = decoders.map(\.state)
        do throws(LLaDAError) {
            for decoder in decoders { decoder.noteForward() }
            try predict(decoders, states)
        } catch {
            // A forward without predictions does not count: it can be repeated.
            for (decoder, before) in zip(decoders, before) { decoder.state = before }
            throw error
        }
        for decoder in decoders { decoder.state.phase = .forwarded }
    }

    /// Predicts together for decoders that all take the most likely token; otherwise each decoder predicts alone.
    private static func predict(_ decoders: ArraySlice<Decoder>, _ states: FinalStates) throws(LLaDAError) {
        guard decoders.count > 1, decoders.allSatisfy({ $0.state.options.policy.temperature == 0 }),
            let first = decoders.first
        else {
            for decoder in decoders { try decoder.predict(cancellations: [decoder.cancellation]) }
            return
        }
        let adjustments = decoders.map { $0.adjustments() }
        let tokens = try Buffer<Int32>(count: states.count)
        let confidences = try Buffer<Float>(count: states.count)
        try first.confidence.predict(
            states, adjust: adjustments.flatMap { $0 }, cancellations: decoders.map(\.cancellation),
            tokens: tokens.pointer, confidences: confidences.pointer)
        var start = 0
        for (decoder, adjustments) in zip(decoders, adjustments) {
            let place = try decoder.state.predictions.begin(decoder.state.active, adjustments)
            place.tokens.update(from: tokens.pointer + start, count: adjustments.count)
            place.confidences.update(from: confidences.pointer + start, count: adjustments.count)
            start += adjustments.count
        }
    }

    private static func check(_ decoders: [Decoder]) throws(LLaDAError) {
        guard Set(decoders.map(ObjectIdentifier.init)).count == decoders.count else {
            throw LLaDAError(.invalidArgument, "a decoder is there twice; expected each once")
        }
        guard decoders.allSatisfy({ $0.sequence.denoiser === decoders[0].sequence.denoiser }) else {
            throw LLaDAError(.invalidArgument, "the decoders are of different models; expected one")
        }
    }
}
