/// Several decoders of one model, step by step together: one forward serves them all, so that weights are read once. Each may
/// have its own length, block, step and policy; what each computes is what it would have alone, bit for bit.
public enum DecoderBatch {
    /// `Decoder.forward` of each. Where it fails, some have done theirs and others have not; each can go on from there.
    public static func forward(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("forward") }
        let sequences = decoders.compactMap { $0.denoiser as? CachedSequence }
        guard sequences.count == decoders.count else {  // scripts
            for decoder in decoders { try decoder.forward() }
            return
        }
        var waiting: [Member] = []
        for (decoder, sequence) in zip(decoders, sequences) { waiting.append(try Member(decoder, sequence)) }
        let ahead = waiting.flatMap(\.plan.ahead)
        for range in ForwardPlan.forwards(ahead) { _ = try ForwardPlan.run(Array(ahead[range])) }
        let last = waiting.map(\.plan.last)
        for range in ForwardPlan.forwards(last) {
            guard let states = try ForwardPlan.run(Array(last[range])) else { continue }
            try finish(Array(waiting[range]), states)
        }
    }

    /// The rest of each one's current step: what of forward, propose and apply has not been done.
    public static func step(_ decoders: [Decoder]) throws(LLaDAError) {
        try check(decoders)
        for decoder in decoders { try decoder.checkUnfinished("step") }
        try forward(decoders.filter { $0.phase == .ready })
        for decoder in decoders { try decoder.step() }
    }

    /// Steps all to their ends, no more than `mostInFlight` at a time: where one has finished, the next one joins, in their
    /// order. What finishes gives its keys and values back, or leaves them to its prefix cache. `afterStep` is called for
    /// each decoder after each of its steps; where it returns false, all stop, with `.stopped`; a later run goes on from there.
    public static func run(
        _ decoders: [Decoder], mostInFlight: Int = .max, _ afterStep: ((Decoder) -> Bool)? = nil
    ) throws(LLaDAError) {
        try check(decoders)
        guard mostInFlight > 0 else {
            throw LLaDAError(.invalidArgument, "most_in_flight is \(mostInFlight); expected at least 1")
        }
        while true {
            let working = Array(decoders.lazy.filter { !$0.isFinished }.prefix(mostInFlight))
            if working.isEmpty { return }
            try step(working)
            var goesOn = true
            for decoder in working {
                if let afterStep, !afterStep(decoder) { goesOn = false }
                if decoder.isFinished { decoder.denoiser.reset() }
            }
            if !goesOn { throw LLaDAError(.stopped, "the step callback asked to stop") }
        }
    }

    /// A decoder whose forward is at work.
    private struct Member {
        let decoder: Decoder
        let sequence: CachedSequence
        let plan: ForwardPlan

        init(_ decoder: Decoder, _ sequence: CachedSequence) throws(LLaDAError) {
            self.decoder = decoder
            self.sequence = sequence
            try decoder.beginForward()
            plan = try sequence.plan(decoder.canvas, active: decoder.active, asOneBlock: decoder.isWindow)
        }
    }

    /// Predictions of those that ran together.
    private static func finish(_ members: [Member], _ states: FinalStates) throws(LLaDAError) {
        let before = members.map { member in
            member.sequence.share(member.decoder.canvas, upTo: member.plan.settled)
            return member.decoder.endForward(ahead: member.plan.ahead.count)
        }
        do throws(LLaDAError) {
            try predict(members, states)
            for member in members { member.decoder.phase = .forwarded }
        } catch {
            for (member, before) in zip(members, before) { member.decoder.undoForward(before) }
            throw error
        }
    }

    /// Of those that take the most likely token all at once; drawing is done one by one.
    private static func predict(_ members: [Member], _ states: FinalStates) throws(LLaDAError) {
        guard members.allSatisfy({ $0.decoder.options.policy.temperature == 0 }), let first = members.first else {
            for member in members { try member.decoder.predict(cancellations: [member.decoder.cancellation]) }
            return
        }
        let tokens = try Buffer<Int32>(count: states.count)
        let confidences = try Buffer<Float>(count: states.count)
        try first.decoder.confidence.predict(
            StateLogits(transformer: first.sequence.transformer, states: states),
            adjust: members.flatMap(\.decoder.adjustments),
            cancellations: members.map(\.decoder.cancellation), tokens: tokens.pointer, confidences: confidences.pointer
        )
        var start = 0
        for member in members {
            let count = member.decoder.forwarded.count
            member.decoder.predictedTokens.pointer.update(from: tokens.pointer + start, count: count)
            member.decoder.predictedConfidences.pointer.update(from: confidences.pointer + start, count: count)
            start += count
        }
    }

    private static func check(_ decoders: [Decoder]) throws(LLaDAError) {
        guard Set(decoders.map(ObjectIdentifier.init)).count == decoders.count else {
            throw LLaDAError(.invalidArgument, "a decoder is there twice; expected each once")
        }
        let sequences = decoders.compactMap { $0.denoiser as? CachedSequence }
        if let first = sequences.first, !sequences.allSatisfy({ $0.transformer.isSame(as: first.transformer) }) {
            throw LLaDAError(.invalidArgument, "the decoders are of different models; expected one")
        }
    }
}
