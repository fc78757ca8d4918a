/// Several decoders of one model, step by step together: one forward serves them all, so that weights are read once.
/// Each may have its own length, block, step and policy; what each computes is what it would have alone, bit for bit.
public enum DecoderBatch {
    /// `Decoder.forward` of each. Where it fails, some have done theirs and others have not; each can go on from there.
    public static func forward(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("forward") }
        var pending: [Pending] = []
        for decoder in decoders { pending.append(try decoder.prepareForward()) }
        try Pending.run(pending) { (range, states) throws(LLaDAError) in
            try finish(decoders[range], ahead: pending[range].map(\.aheadCount), states)
        }
    }

    /// The rest of each one's current step: what of forward, propose and apply has not been done.
    public static func step(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("step") }
        try forward(decoders.filter { $0.phase == .ready })
        for decoder in decoders { try decoder.step() }
    }

    /// Steps all to their ends, no more than `mostInFlight` at a time: where one has finished, the next one joins, in
    /// their order. What finishes gives its keys and values back, or leaves them to its prefix cache. `afterStep` is
    /// called for each decoder after each of its steps; what it throws stops all, and is thrown; a later run goes on
    /// from there.
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

    /// Predictions of those that ran together.
    private static func finish(
        _ decoders: ArraySlice<Decoder>, ahead: [Int], _ states: FinalStates
    ) throws(LLaDAError) {
        for (decoder, ahead) in zip(decoders, ahead) { decoder.noteAhead(ahead) }
        let before = decoders.map(\.state)
        do throws(LLaDAError) {
            for decoder in decoders { decoder.noteForward() }
            try predict(decoders, states)
        } catch {
            // A forward without predictions is none: it can be done again.
            for (decoder, before) in zip(decoders, before) { decoder.state = before }
            throw error
        }
        for decoder in decoders { decoder.state.phase = .forwarded }
    }

    /// Of those that take the most likely token all at once; drawing is done one by one.
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
