extension Cluster {
    /// Serves the experts of this rank, which is not 0, until rank 0 closes the cluster. Rank 0 says which model to
    /// open: its own `path`, or the one here. Of `options`, `threads`, `useMmap` and `memoryLimit` are used; the others
    /// are those of rank 0.
    ///
    /// Throws `.state` on rank 0, and `.cluster` if the cluster has failed. A model that cannot be opened here is an
    /// error on rank 0 alone.
    public func serve(path: String? = nil, options: Model.Options = Model.Options()) throws(LLaDAError) {
        try serve(options: options) { (theirs, budget, progress) throws(LLaDAError) in
            try openCheckpoint(path ?? theirs, budget: budget, progress: progress)
        }
    }

    /// Opens the source of a model, for which rank 0 has a path.
    package typealias Opener = (String, MemoryBudget, @escaping Progress) throws(LLaDAError) -> any TensorSource

    /// Serves the experts of a model that `opener` opens.
    package func serve(options: Model.Options, _ opener: Opener) throws(LLaDAError) {
        guard rank > 0 else {
            throw LLaDAError(.state, "this is rank 0 of the cluster, which opens models; others serve")
        }
        var state = Serving()
        var patience = Patience()
        do throws(LLaDAError) {
            while true {
                let order = try withTurn { (traffic) throws(LLaDAError) -> Order? in
                    guard let arrival = try traffic.arrival(from: 0, Subject.order) else {
                        if patience.isLong { try traffic.checkOthers() }
                        if hasHeartbeat, patience.waited > timeout { throw Self.silence(timeout) }
                        return nil
                    }
                    return try obey(arrival, traffic, &state, options, opener)
                }
                if order == .close { return dismiss() }
                if order == nil { patience.pause() } else { patience = Patience() }
                try Reserve.check()
            }
        } catch {
            if error.status != .cluster, error.status != .state { fail(error) }
            throw error
        }
    }

    private static func silence(_ timeout: UInt64) -> LLaDAError {
        let seconds = Double(timeout / 1_000_000) / 1000
        return LLaDAError(.cluster, "nothing was heard of rank 0 for \(seconds) s: it has died, or hangs")
    }

    private struct Serving {
        var service: ExpertService?
        var head: HeadService?
        var inbox = Scratch<UInt8>()
    }

    /// Does what an order says.
    private func obey(
        _ arrival: Traffic.Arrival, _ traffic: Traffic, _ state: inout Serving, _ options: Model.Options,
        _ opener: Opener
    ) throws(LLaDAError) -> Order {
        let word = MemoryLayout<Int64>.size
        guard word...LayerOrder.mostBytes ~= arrival.byteCount else {
            throw LLaDAError(.cluster, "rank 0 sent \(arrival.byteCount) bytes, which are no order")
        }
        let base = UnsafeMutableRawPointer(try state.inbox.reserve(arrival.byteCount))
        try traffic.receive(arrival, into: base)
        let bytes = UnsafeRawBufferPointer(start: base, count: arrival.byteCount)
        switch Order(rawValue: bytes.load(as: Int64.self)) {
        case .close:
            try answerClosing(traffic)
            return .close
        case .layer:
            guard let service = state.service else { throw LLaDAError(.cluster, "rank 0 sent rows before a model") }
            try service.run(base, byteCount: arrival.byteCount, traffic)
            return .layer
        case .head:
            guard let head = state.head else { throw LLaDAError(.cluster, "rank 0 sent states for a part of the head") }
            try head.run(base, byteCount: arrival.byteCount, traffic)
            return .head
        case .open:
            guard let order = OpenOrder(bytes, size: size) else {
                throw LLaDAError(.cluster, "rank 0 sent \(arrival.byteCount) bytes that open no model")
            }
            (state.service, state.head) = (nil, nil)  // the old model goes first
            try open(order, traffic, &state, options, opener)
            return .open
        case .beat: return .beat
        case .leave, nil: throw LLaDAError(.cluster, "rank 0 sent an order that is unknown here")
        }
    }

    /// Opens a model, and answers. Only messages can fail.
    private func open(
        _ order: OpenOrder, _ traffic: Traffic, _ state: inout Serving, _ options: Model.Options, _ opener: Opener
    ) throws(LLaDAError) {
        func answer(_ head: OpenAnswer, _ rest: [UInt8] = []) throws(LLaDAError) {
            try (head.bytes + rest).withUnsafeBufferPointer { (bytes) throws(LLaDAError) in
                try traffic.send(UnsafeRawBufferPointer(bytes), to: 0, Subject.answer)
                try traffic.finishAll()
            }
        }
        var failure: LLaDAError?
        var opened: ServedModel?
        var lost: LLaDAError?
        var last = MonotonicClock.now
        do throws(LLaDAError) {
            opened = try ServedModel(order, rank: rank, options, opener) { (_) throws(LLaDAError) in
                if MonotonicClock.now - last < self.timeout / 8 { return }
                last = MonotonicClock.now
                do throws(LLaDAError) {
                    try answer(OpenAnswer(order.number, .reading))
                    try traffic.checkOthers()
                } catch {
                    lost = error
                    throw error
                }
            }
        } catch {
            failure = error
        }
        if let lost { throw lost }
        guard let opened else {
            return try answer(OpenAnswer(order.number, .failed), Array((failure?.message ?? "").utf8))
        }
        (state.service, state.head) = (opened.service, opened.head)
        try answer(OpenAnswer(order.number, .done, prepared: opened.prepared), opened.stretches)
    }
}
