/// Functions that run several decoders of one model together. One forward serves them all, so that weights are read
/// once. Each decoder may have its own length, block, step and policy, and gets the same bits as alone.
///
/// All functions throw `.invalidArgument` if a decoder is there twice or the decoders have different models.
public enum DecoderBatch {
    /// Runs `Decoder.forward` of each decoder. After an error, some decoders have done their forward and others have
    /// not; each can continue from there.
    public static func forward(_ decoders: [Decoder]) throws(LLaDAError) {
        try forward(decoders.count) { decoders[$0] }
    }

    /// Does the rest of each decoder's current step: those of `forward`, `propose` and `apply` that have not been
    /// called.
    public static func step(_ decoders: [Decoder]) throws(LLaDAError) {
        try step(decoders.count) { decoders[$0] }
    }

    /// Steps all decoders to their ends, at most `mostInFlight` at a time. When one finishes, the next one joins, in
    /// their order. A finished decoder releases its keys and values, or leaves them to its prefix cache. `afterStep` is
    /// called for each decoder after each of its steps. An error that it throws ends the run and is rethrown; a later
    /// run continues from there. Throws `.invalidArgument` unless `mostInFlight` is positive.
    public static func run(
        _ decoders: [Decoder], mostInFlight: Int = .max,
        _ afterStep: (Decoder) throws(LLaDAError) -> Void = { (_) throws(LLaDAError) in }
    ) throws(LLaDAError) {
        try run(decoders.count, { decoders[$0] }, mostInFlight: mostInFlight) { (index) throws(LLaDAError) in
            try afterStep(decoders[index])
        }
    }
}

/// The same on `count` decoders that a function returns: a list of them need not be made.
extension DecoderBatch {
    package static func forward(_ count: Int, _ decoder: (Int) -> Decoder) throws(LLaDAError) {
        try check(count, decoder)
        for index in 0..<count { try decoder(index).checkUnfinished("forward") }
        try prepare(count, decoder)
        try runPending(count, decoder)
    }

    package static func step(_ count: Int, _ decoder: (Int) -> Decoder) throws(LLaDAError) {
        try check(count, decoder)
        for index in 0..<count { try decoder(index).checkUnfinished("step") }
        for index in 0..<count { decoder(index).pending = nil }
        try prepare(count, decoder, in: .ready)
        try runPending(count, decoder)
        for index in 0..<count { try decoder(index).step() }
    }

    /// `afterStep` gets the index of a decoder.
    package static func run(
        _ count: Int, _ decoder: (Int) -> Decoder, mostInFlight: Int, _ afterStep: (Int) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        try check(count, decoder)
        guard mostInFlight > 0 else {
            throw LLaDAError(.invalidArgument, "most_in_flight is \(mostInFlight); expected at least 1")
        }
        var working: [Int] = []
        try working.reserve(min(count, mostInFlight))
        while true {
            working.removeAll(keepingCapacity: true)
            for index in 0..<count where working.count < mostInFlight && !decoder(index).isFinished {
                working.append(index)
            }
            if working.isEmpty { return }
            try step(working.count) { decoder(working[$0]) }
            var stop: LLaDAError?
            for index in working {
                do throws(LLaDAError) { try afterStep(index) } catch { stop = stop ?? error }
                if decoder(index).isFinished { decoder(index).sequence.release() }
            }
            if let stop { throw stop }
        }
    }

    /// Prepares a forward of all decoders, or of those in a phase.
    private static func prepare(
        _ count: Int, _ decoder: (Int) -> Decoder, in phase: Decoder.Phase? = nil
    ) throws(LLaDAError) {
        var rows = 0
        for index in 0..<count where phase == nil || decoder(index).phase == phase {
            rows += decoder(index).active.count
        }
        for index in 0..<count where phase == nil || decoder(index).phase == phase {
            try decoder(index).prepareForward(beside: rows - decoder(index).active.count)
        }
    }

    /// Runs the forwards that are prepared, and makes the predictions.
    private static func runPending(_ count: Int, _ decoder: (Int) -> Decoder) throws(LLaDAError) {
        if count == 0 { return }
        let workspaces = decoder(0).confidence.compute.workspaces
        let work = try workspaces.take()
        defer {
            workspaces.giveBack(work)
            for index in 0..<count { decoder(index).pending = nil }
        }
        var (progress, rows): (Progress?, Int) = (nil, 0)
        for index in 0..<count {
            progress = progress ?? decoder(index).progress
            rows += decoder(index).pending?.rowCount ?? 0
        }
        work.report(to: progress, rows: rows, interval: Decoder.reportInterval)
        try Pending.run(count, { decoder($0).pending }, work) { (range) throws(LLaDAError) in
            try finish(range, decoder, work)
        }
    }

    /// Makes the predictions of the decoders that ran together.
    private static func finish(
        _ range: Range<Int>, _ decoder: (Int) -> Decoder, _ work: Workspace
    ) throws(LLaDAError) {
        for index in range where decoder(index).pending != nil {
            let decoder = decoder(index)
            try decoder.state.progress.seen.makeRoom(blockLength: decoder.state.active.count)
        }
        for index in range where decoder(index).pending != nil { decoder(index).noteForward() }
        do throws(LLaDAError) {
            try predict(range, decoder, work)
        } catch {
            for index in range where decoder(index).pending != nil { decoder(index).unnoteForward() }
            throw error
        }
        for index in range where decoder(index).pending != nil { decoder(index).state.phase = .forwarded }
    }

    /// Makes the predictions that are read of the decoders that ran together.
    private static func predict(
        _ range: Range<Int>, _ decoder: (Int) -> Decoder, _ work: Workspace
    ) throws(LLaDAError) {
        for index in range where decoder(index).pending != nil {
            try work.cancellations.makeRoom()
            work.cancellations.append(decoder(index).cancellation)
        }
        for index in range where decoder(index).pending != nil { try decoder(index).beginPredictions() }
        try Decoder.judge(
            range, { decoder($0).pending == nil ? nil : decoder($0) }, work, cancellations: work.cancellations
        ) { $0.isRead($1) }
        work.clear()
    }

    private static func check(_ count: Int, _ decoder: (Int) -> Decoder) throws(LLaDAError) {
        var listed = 0
        defer { for index in 0..<listed { decoder(index).isListed = false } }
        for index in 0..<count {
            guard !decoder(index).isListed else {
                throw LLaDAError(.invalidArgument, "a decoder is there twice; expected each once")
            }
            decoder(index).isListed = true
            listed += 1
        }
        for index in 0..<count where decoder(index).sequence.denoiser !== decoder(0).sequence.denoiser {
            throw LLaDAError(.invalidArgument, "the decoders are of different models; expected one")
        }
    }
}
