import Kernels

/// What the messages of a cluster are about: their tags.
package enum Subject {
    static let hello: Int32 = 1
    /// From rank 0: what to do next.
    package static let order: Int32 = 2
    /// To rank 0: an answer to an order.
    package static let answer: Int32 = 3
    /// To rank 0: that the sender ends, and why.
    static let end: Int32 = 4
    /// To rank 0: the peaks of logits.
    package static let peaks: Int32 = 5

    /// Sums of the experts' outputs of a layer. Consecutive layers have tags of their own.
    package static func sums(_ number: Int) -> Int32 { 16 + Int32(truncatingIfNeeded: number % 16384) }
}

/// The messages of a cluster under way. No call waits longer than the cluster's timeout. It is used by whoever has the
/// cluster's turn.
package final class Traffic {
    private let mpi: MPILibrary
    private let comm: MPILibrary.Handle
    private let size: Int
    private let isFirst: Bool
    /// Nanoseconds.
    private let timeout: UInt64
    private let counters: TrafficCounters
    private let hosts: [String]

    private struct Transfer {
        var request: MPILibrary.Handle
        let peer: Int
        /// Of what is received; -1 for what is sent.
        let byteCount: Int
    }

    private var transfers: [Transfer] = []
    /// For which rank each rank has waited in vain, as it has reported; -1: it has not.
    private var reports: [Int]

    init(
        _ mpi: MPILibrary, _ comm: MPILibrary.Handle, size: Int, rank: Int, timeout: UInt64, hosts: [String],
        _ counters: TrafficCounters
    ) {
        self.mpi = mpi
        self.comm = comm
        self.size = size
        self.timeout = timeout
        self.hosts = hosts
        self.counters = counters
        isFirst = rank == 0
        reports = Array(repeating: -1, count: size)
    }

    /// What messages call a rank.
    package func name(_ rank: Int) -> String {
        rank < hosts.count && !hosts[rank].isEmpty ? "rank \(rank) (on \(hosts[rank]))" : "rank \(rank)"
    }

    /// Makes room for so many transfers at a time.
    package func reserve(_ count: Int) throws(LLaDAError) { try transfers.reserve(count) }

    // MARK: Transfers

    /// Begins to send. The bytes must stay until `finishAll` has returned.
    package func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, _ subject: Int32) throws(LLaDAError) {
        let request = try mpi.send(bytes, to: rank, tag: subject, in: comm)
        counters.sent(bytes.count)
        try add(Transfer(request: request, peer: rank, byteCount: -1))
    }

    /// Begins to receive so many bytes. Returns the number of the transfer.
    package func receive(
        _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, _ subject: Int32
    ) throws(LLaDAError) -> Int {
        let request = try mpi.receive(bytes, from: rank, tag: subject, in: comm)
        try add(Transfer(request: request, peer: rank, byteCount: bytes.count))
        return transfers.count - 1
    }

    private func add(_ transfer: Transfer) throws(LLaDAError) {
        try transfers.makeRoom()
        transfers.append(transfer)
    }

    /// Lets messages go on while the caller computes. An error shows when the transfer is finished.
    package func poll() {
        // Each call moves all of them a little.
        var calls = 4
        for index in transfers.indices where transfers[index].request != MPILibrary.nullRequest {
            _ = try? isDone(index)
            calls -= 1
            if calls == 0 { return }
        }
    }

    /// Gives what is being sent some milliseconds to leave: the receivers wait for it. Large messages move only while
    /// both sides call MPI.
    package func push() {
        let start = MonotonicClock.now
        while MonotonicClock.now - start < Self.mostPush {
            var isLeft = false
            for index in transfers.indices where transfers[index].byteCount < 0 {
                let isDone = try? isDone(index)
                if isDone == false { isLeft = true }
            }
            if !isLeft { return }
        }
    }

    /// Nanoseconds.
    private static let mostPush: UInt64 = 5_000_000

    /// Waits for a transfer.
    package func finish(_ index: Int) throws(LLaDAError) {
        var patience = Patience()
        while try !isDone(index) { try pause(&patience, for: transfers[index].peer) }
    }

    /// Waits for all transfers, and forgets them.
    package func finishAll() throws(LLaDAError) {
        for index in transfers.indices { try finish(index) }
        transfers.removeAll(keepingCapacity: true)
    }

    private func isDone(_ index: Int) throws(LLaDAError) -> Bool {
        if transfers[index].request == MPILibrary.nullRequest { return true }
        let transfer = transfers[index]
        var received = 0
        do throws(LLaDAError) {
            if try !mpi.isDone(&transfers[index].request, received: &received) { return false }
        } catch {
            throw LLaDAError(.cluster, "\(name(transfer.peer)): \(error.message)")
        }
        if transfer.byteCount >= 0 {
            guard received == transfer.byteCount else {
                throw LLaDAError(
                    .cluster, "\(name(transfer.peer)) sent \(received) bytes; expected \(transfer.byteCount)")
            }
            counters.received(received)
        }
        return true
    }

    // MARK: Messages of any size

    /// A message that has arrived and is still to be received, which must happen.
    package struct Arrival {
        fileprivate let message: MPILibrary.Handle
        fileprivate let rank: Int
        package let byteCount: Int
    }

    /// Returns the next message of a rank; nil if there is none.
    package func arrival(from rank: Int, _ subject: Int32) throws(LLaDAError) -> Arrival? {
        guard let found = try mpi.arrival(from: rank, tag: subject, in: comm) else { return nil }
        return Arrival(message: found.message, rank: rank, byteCount: found.byteCount)
    }

    /// Receives a message that has arrived.  bytes: [byteCount]
    package func receive(_ arrival: Arrival, into bytes: UnsafeMutableRawPointer) throws(LLaDAError) {
        let room = UnsafeMutableRawBufferPointer(start: bytes, count: arrival.byteCount)
        let request = try mpi.receive(arrival.message, room)
        var transfer = Transfer(request: request, peer: arrival.rank, byteCount: arrival.byteCount)
        var received = 0
        var patience = Patience()
        while try !mpi.isDone(&transfer.request, received: &received) { try pause(&patience, for: arrival.rank) }
        counters.received(received)
    }

    /// Waits for the next message of a rank.
    package func next(from rank: Int, _ subject: Int32) throws(LLaDAError) -> Arrival {
        var patience = Patience()
        while true {
            if let found = try arrival(from: rank, subject) { return found }
            try pause(&patience, for: rank)
        }
    }

    /// Returns a message that has arrived, which is small.
    package func words(_ arrival: Arrival) throws(LLaDAError) -> Buffer<UInt8> {
        let bytes = try Buffer<UInt8>(count: arrival.byteCount)
        try receive(arrival, into: UnsafeMutableRawPointer(bytes.pointer))
        return bytes
    }

    // MARK: Patience

    /// Waits a moment for a rank. Throws `.cluster` once it has been waited for longer than the timeout, or if a rank
    /// has said that it ends.
    private func pause(_ patience: inout Patience, for rank: Int) throws(LLaDAError) {
        // Others report in time for rank 0 to know whom they waited for.
        let limit = isFirst ? timeout : timeout / 4 * 3
        let isOver = patience.waited > limit
        patience.pause()
        if patience.isLong {
            if isFirst { try readReports(ofWaiting: rank) } else { try checkOrderToEnd() }
        }
        if isOver { throw isFirst ? late(rank) : waitedInVain(for: rank) }
    }

    private func waitedInVain(for rank: Int) -> LLaDAError {
        report(waitedFor: rank, "")
        return LLaDAError(.cluster, "\(name(rank)) has not answered for \(seconds): it has died, or hangs")
    }

    private var seconds: String { "\(Double(timeout / 1_000_000) / 1000) s" }

    /// Returns the error about the rank that all others wait for, as far as they have said so.
    private func late(_ rank: Int) -> LLaDAError {
        // Some have waited for rank 0, which waits itself.
        let silent = reports.first { $0 > 0 && reports[$0] < 0 } ?? rank
        return LLaDAError(.cluster, "\(name(silent)) has not answered for \(seconds): it has died, or hangs")
    }

    /// Reads, on rank 0, what ranks report that end. Throws what one of them has met itself.
    func readReports(ofWaiting rank: Int? = nil) throws(LLaDAError) {
        for other in 1..<max(size, 1) where reports[other] < 0 {
            guard let arrival = try arrival(from: other, Subject.end) else { continue }
            let report = try words(arrival)
            let head = MemoryLayout<Int64>.size
            guard report.count >= head else { throw LLaDAError(.cluster, "\(name(other)) has ended") }
            let bytes = UnsafeRawBufferPointer(start: report.pointer, count: report.count)
            let waitedFor = Int(bytes.loadUnaligned(as: Int64.self))
            guard 0..<size ~= waitedFor, waitedFor != other else {
                let text = String(decoding: bytes[head...], as: UTF8.self)
                throw LLaDAError(.cluster, "\(name(other)) has ended: \(text)")
            }
            reports[other] = waitedFor
        }
    }

    /// Throws, on another rank than 0, if rank 0 says that the cluster is at its end.
    private func checkOrderToEnd() throws(LLaDAError) {
        if let arrival = try arrival(from: 0, Subject.end) {
            let bytes = try words(arrival)
            throw LLaDAError(.cluster, "rank 0 ends the cluster: \(String(decoding: bytes.elements, as: UTF8.self))")
        }
    }

    /// Throws `.cluster` if another rank has said that it ends.
    package func checkOthers() throws(LLaDAError) {
        if isFirst { try readReports() } else { try checkOrderToEnd() }
    }

    /// Tells the others, as well as that goes, that this rank ends. Nobody waits for the message to arrive.
    func report(waitedFor rank: Int = -1, _ text: String) {
        var message: [UInt8] = []
        if !isFirst { withUnsafeBytes(of: Int64(rank)) { message += $0 } }
        message += Array(text.utf8.prefix(900))
        // For ever: the message may never be taken.
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: message.count, alignment: 8)
        bytes.copyBytes(from: message)
        for other in isFirst ? 1..<size : 0..<1 {
            _ = try? mpi.send(UnsafeRawBufferPointer(bytes), to: other, tag: Subject.end, in: comm)
        }
    }
}
