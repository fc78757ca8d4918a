import Kernels

/// Processes that compute one model together, over MPI: rank 0 does all but the routed experts of the others, which
/// `serve` there.
///
/// Any thread may use a cluster, one at a time, if the MPI library was initialised so that any thread may call it; else
/// only the thread that initialised it. A process that was forked from one of a cluster is none of its processes.
public final class Cluster: @unchecked Sendable {
    public struct Options: Sendable {
        /// Whether MPI is initialised here if the program has not done so, and finalised by `close` then.
        public var initialise = false
        /// The bits of an MPI_Comm; 0 for MPI_COMM_WORLD.
        public var communicator: UInt = 0
        /// The file of the MPI library; nil for what the process has loaded, what LLADA_MPI_LIBRARY names, or what the
        /// loader finds.
        public var library: String?
        /// The milliseconds after which a rank that does not answer counts as dead.
        public var timeout = 30_000
        /// The shares of the experts, by rank, on rank 0: as many as ranks; empty for equal ones.
        public var shares: [Double] = []
        /// The version of the library, as major * 10000 + minor * 100 + patch: ranks of different versions do not go
        /// together. The C interface has its own here.
        public var version = 0

        public init() {}
    }

    /// What a rank has sent and received so far.
    public struct Info: Sendable {
        public let rank: Int
        public let size: Int
        public let bytesSent: Int
        public let bytesReceived: Int
        public let messagesSent: Int
        public let messagesReceived: Int
    }

    public let rank: Int
    public let size: Int
    package let shares: [Double]
    /// Nanoseconds.
    package let timeout: UInt64

    private let mpi: MPILibrary
    private let comm: MPILibrary.Handle
    private let startedHere: Bool
    private let home = llk_process()
    private let counters: TrafficCounters
    private let traffic: Traffic
    /// On rank 0, if MPI may be called by several threads at once.
    private let heartbeat: Heartbeat?
    /// On another rank, whether rank 0 has one: if it is not heard of any more, it is dead.
    package let hasHeartbeat: Bool
    private let turn = Locked(State())

    private struct State {
        var failure: LLaDAError?
        var isClosed = false
        /// Whether rank 0 has said that the cluster is closed.
        var isDismissed = false
        var hasModel = false
    }

    /// Joins the cluster: all its processes have to call this. Throws `.unsupported` without an MPI library, `.state`
    /// if MPI is not initialised, or finalised, `.invalidArgument`, and `.cluster` for ranks that do not answer or are
    /// of another version.
    public init(_ options: Options = Options()) throws(LLaDAError) {
        guard 1...86_400_000 ~= options.timeout else {
            throw LLaDAError(
                .invalidArgument, "timeout_ms is \(options.timeout); expected 1 to 86400000, a day of milliseconds")
        }
        if let bad = options.shares.first(where: { !($0 > 0 && $0 < .infinity) }) {
            throw LLaDAError(.invalidArgument, "a share is \(bad); expected positive numbers")
        }
        mpi = try MPILibrary(path: options.library)
        if mpi.isFinalized { throw LLaDAError(.state, "MPI is finalised; a cluster needs it") }
        startedHere = !mpi.isInitialized
        if startedHere {
            guard options.initialise else {
                throw LLaDAError(.state, "MPI is not initialised: call MPI_Init_thread, or set `initialise`")
            }
            try mpi.start()
        }
        timeout = UInt64(options.timeout) * 1_000_000
        let parent = options.communicator == 0 ? MPILibrary.world : OpaquePointer(bitPattern: options.communicator)
        let comm = try Self.duplicate(parent, mpi, timeout: timeout)
        self.comm = comm
        try mpi.returnErrors(of: comm)
        rank = mpi.rank(in: comm)
        size = mpi.size(of: comm)
        guard rank >= 0, rank < size else { throw LLaDAError(.cluster, "MPI does not tell rank and size") }
        guard options.shares.isEmpty || rank > 0 || options.shares.count == size else {
            throw LLaDAError(
                .invalidArgument, "there are \(options.shares.count) shares; expected \(size), one for each rank")
        }
        shares = options.shares
        counters = TrafficCounters()
        let hello = Hello(
            version: max(options.version, 0), timeout: timeout, hasHeartbeat: rank == 0 && mpi.allowsThreadsAtOnce)
        let others = try hello.exchange(mpi, comm, rank: rank, size: size)
        traffic = Traffic(mpi, comm, size: size, rank: rank, timeout: timeout, hosts: others.hosts, counters)
        hasHeartbeat = others.hasHeartbeat
        heartbeat =
            rank == 0 && size > 1 && hasHeartbeat
            ? try Heartbeat(mpi, comm, size: size, leastTimeout: others.leastTimeout) : nil
    }

    deinit { close() }

    private static func duplicate(
        _ parent: MPILibrary.Handle, _ mpi: MPILibrary, timeout: UInt64
    ) throws(LLaDAError) -> MPILibrary.Handle {
        // MPI writes here when the request is done, which may be never.
        let place = UnsafeMutablePointer<MPILibrary.Handle>.allocate(capacity: 1)
        place.initialize(to: nil)
        var request = try mpi.duplicate(parent, into: place)
        var patience = Patience()
        var ignored = 0
        while try !mpi.isDone(&request, received: &ignored) {
            if patience.waited > timeout {
                throw LLaDAError(.cluster, "not all ranks have called llada_cluster_create in time")
            }
            patience.pause()
        }
        defer { place.deallocate() }
        return place.pointee
    }

    /// What this rank has sent and received so far.
    public var info: Info {
        Info(
            rank: rank, size: size, bytesSent: counters.bytesSent.load(ordering: .relaxed),
            bytesReceived: counters.bytesReceived.load(ordering: .relaxed),
            messagesSent: counters.messagesSent.load(ordering: .relaxed),
            messagesReceived: counters.messagesReceived.load(ordering: .relaxed))
    }

    // MARK: Turns

    /// Lets the caller exchange messages: one thread at a time. An error `.cluster` of `body`, from wherever, is the
    /// end of the cluster: the other ranks are told, and every later turn throws the same error.
    package func withTurn<Result>(
        _ body: (Traffic) throws(LLaDAError) -> Result
    ) throws(LLaDAError) -> Result {
        guard home == llk_process() else {
            throw LLaDAError(.state, "the process was forked: a cluster belongs to the process that made it")
        }
        return try turn.withLock { (state) throws(LLaDAError) in
            if let failure = state.failure { throw failure }
            if state.isClosed { throw LLaDAError(.state, "the cluster is closed") }
            try checkThread()
            do throws(LLaDAError) {
                return try body(traffic)
            } catch {
                if error.status == .cluster {
                    state.failure = error
                    heartbeat?.end()
                    traffic.report(error.message)
                    // What MPI may still write to stays.
                    _ = Unmanaged.passRetained(self)
                    _ = Unmanaged.passRetained(traffic)
                }
                throw error
            }
        }
    }

    private func checkThread() throws(LLaDAError) {
        if mpi.isFinalized { throw LLaDAError(.state, "MPI was finalised before the cluster was closed") }
        guard mpi.allowsAnyThread || mpi.isMainThread else {
            throw LLaDAError(
                .state, "MPI was initialised for one thread, and this is another: ask it for MPI_THREAD_SERIALIZED")
        }
    }

    /// Claims the cluster for a model: it has one at a time. Throws `.busy`.
    package func claim() throws(LLaDAError) {
        guard rank == 0 else {
            throw LLaDAError(.state, "this is rank \(rank) of a cluster, which serves; rank 0 opens models")
        }
        try turn.withLock { (state) throws(LLaDAError) in
            if let failure = state.failure { throw failure }
            if state.isClosed { throw LLaDAError(.state, "the cluster is closed") }
            if state.hasModel { throw LLaDAError(.busy, "the cluster has a model already; free it first") }
            state.hasModel = true
        }
    }

    /// Gives the claim back.
    package func release() { turn.withLock { $0.hasModel = false } }

    /// Ends the cluster with an error that a rank has met by itself.
    package func fail(_ error: LLaDAError) {
        _ = Reserve.note { () throws(LLaDAError) in
            try withTurn { (_) throws(LLaDAError) in throw LLaDAError(.cluster, error.message) }
        }
    }

    /// Notes that rank 0 has closed the cluster.
    package func dismiss() { turn.withLock { $0.isDismissed = true } }

    // MARK: Closing

    /// Leaves the cluster. On rank 0 that ends `serve` on the others; the models of the cluster throw `.state`
    /// afterwards. MPI is finalised if it was initialised here, unless a rank has failed: that would wait for it.
    public func close() {
        guard home == llk_process() else { return }
        turn.withLock { state in
            if state.isClosed { return }
            state.isClosed = true
            if state.failure != nil || mpi.isFinalized {
                heartbeat?.end()
                return
            }
            heartbeat?.endAndWait()
            let isDone: Void? = Reserve.note { () throws(LLaDAError) in
                try checkThread()
                try rank == 0 ? dismissOthers() : waitForDismissal(state.isDismissed)
            }
            guard isDone != nil, heartbeat?.hasArrived ?? true else { return }
            mpi.free(comm)
            if startedHere { mpi.finish() }
        }
    }

    private func dismissOthers() throws(LLaDAError) {
        let order = try Buffer<Int64>(count: 1, repeating: Order.close.rawValue)
        for other in 1..<max(size, 1) {
            try traffic.send(UnsafeRawBufferPointer(order.elements), to: other, Subject.order)
        }
        for other in 1..<max(size, 1) {
            // Answers to what was asked before may come first.
            while try traffic.words(traffic.next(from: other, Subject.answer)).count > 0 {}
        }
        try traffic.finishAll()
        // All are there, so nobody will wait for a dead rank in MPI_Finalize.
        order.pointer[0] = Order.leave.rawValue
        for other in 1..<max(size, 1) {
            try traffic.send(UnsafeRawBufferPointer(order.elements), to: other, Subject.order)
        }
        try traffic.finishAll()
        withExtendedLifetime(order) {}
    }

    /// Waits, on a rank that does not serve any more, for rank 0 to close the cluster.
    private func waitForDismissal(_ isDismissed: Bool) throws(LLaDAError) {
        if isDismissed { return }
        traffic.report("it has closed the cluster")
        let start = MonotonicClock.now
        while MonotonicClock.now - start < timeout {
            if try nextOrder(traffic) == .close { return try answerClosing(traffic) }
        }
        throw LLaDAError(.cluster, "rank 0 has not closed the cluster")
    }

    /// Answers, on another rank than 0, that this one is ready to leave, and waits until all are.
    package func answerClosing(_ traffic: Traffic) throws(LLaDAError) {
        try traffic.send(UnsafeRawBufferPointer(start: nil, count: 0), to: 0, Subject.answer)
        try traffic.finishAll()
        guard try nextOrder(traffic) == .leave else { throw LLaDAError(.cluster, "rank 0 goes on after its end") }
    }

    /// Waits for the next order of rank 0. Returns nil if it is one of more than a word.
    private func nextOrder(_ traffic: Traffic) throws(LLaDAError) -> Order? {
        let order = try traffic.words(traffic.next(from: 0, Subject.order))
        let bytes = UnsafeRawBufferPointer(start: order.pointer, count: order.count)
        return order.count == MemoryLayout<Int64>.size ? Order(rawValue: bytes.load(as: Int64.self)) : nil
    }
}

/// What rank 0 asks of the others: the first word of an order.
package enum Order: Int64 {
    case close = 1
    case open = 2
    case layer = 3
    /// Nothing: rank 0 is there.
    case beat = 4
    /// All ranks have answered `close`, and may finalise MPI.
    case leave = 5
    case head = 6
}
