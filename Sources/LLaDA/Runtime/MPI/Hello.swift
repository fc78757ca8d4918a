import Glibc

/// The first messages of a cluster: every rank says what it is, and rank 0 whether that goes together. Their form is
/// the same in all versions.
struct Hello {
    /// Of the library: the same on all ranks.
    let version: Int
    /// Nanoseconds.
    let timeout: UInt64
    /// On rank 0, whether there will be a heartbeat.
    let hasHeartbeat: Bool

    /// What the ranks have learnt of each other.
    struct Answer {
        /// Of the ranks, on rank 0; none on others.
        var hosts: [String] = []
        /// Of all ranks, on rank 0, in nanoseconds.
        var leastTimeout: UInt64
        /// Whether rank 0 has a heartbeat.
        var hasHeartbeat: Bool
    }

    /// "LLADAMPI".
    private static let magic: UInt64 = 0x4C4C_4144_414D_5049
    private static let hostBytes = 64
    /// Magic and version; the host; the timeout.
    private static let size = 24 + hostBytes
    /// Of the answer: whether there is a heartbeat, and a text, empty if all is well.
    private static let answerBytes = 512
    private static let word = 8

    /// Exchanges them.
    func exchange(
        _ mpi: MPILibrary, _ comm: MPILibrary.Handle, rank: Int, size: Int
    ) throws(LLaDAError) -> Answer {
        let traffic = Traffic(
            mpi, comm, size: size, rank: rank, timeout: timeout, hosts: [], TrafficCounters())
        // Of each rank, then the answer. For ever, if a transfer fails.
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Self.size * size + Self.answerBytes, alignment: MemoryLayout<UInt64>.alignment)
        guard let base = memory.initializeMemory(as: UInt8.self, repeating: 0).baseAddress else {
            throw LLaDAError(.cluster, "MPI does not tell rank and size")
        }
        func place(_ rank: Int) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(start: base + rank * Self.size, count: Self.size)
        }
        func host(_ rank: Int) -> String { Self.text(base + rank * Self.size + 16, most: Self.hostBytes) }
        let answer = UnsafeMutableRawBufferPointer(start: base + size * Self.size, count: Self.answerBytes)
        let own = place(rank)
        own.storeBytes(of: Self.magic, as: UInt64.self)
        own.storeBytes(of: UInt64(version), toByteOffset: 8, as: UInt64.self)
        own.storeBytes(of: timeout, toByteOffset: 16 + Self.hostBytes, as: UInt64.self)
        own.withMemoryRebound(to: CChar.self) { own in
            if let own = own.baseAddress { gethostname(own + 16, Self.hostBytes - 1) }
        }
        var problem = ""
        var result = Answer(leastTimeout: timeout, hasHeartbeat: hasHeartbeat)
        if rank > 0 {
            try traffic.send(UnsafeRawBufferPointer(own), to: 0, Subject.hello)
            _ = try traffic.receive(answer, from: 0, Subject.hello)
            try traffic.finishAll()
            result.hasHeartbeat = answer.load(as: UInt64.self) != 0
            problem = Self.text(base + size * Self.size + Self.word, most: Self.answerBytes - Self.word)
        } else {
            for other in 1..<max(size, 1) { _ = try traffic.receive(place(other), from: other, Subject.hello) }
            try traffic.finishAll()
            for other in 0..<size {
                let theirs = place(other).load(fromByteOffset: 8, as: UInt64.self)
                if place(other).load(as: UInt64.self) != Self.magic {
                    problem = "rank \(other) is no llada of this byte order"
                } else if theirs != version {
                    let (found, own) = (Self.name(theirs), Self.name(UInt64(version)))
                    problem = "rank \(other) has llada \(found); expected \(own), as rank 0 has"
                }
                result.hosts.append(host(other))
                let patience = place(other).load(fromByteOffset: 16 + Self.hostBytes, as: UInt64.self)
                result.leastTimeout = min(result.leastTimeout, patience)
            }
            answer.storeBytes(of: hasHeartbeat ? 1 : 0, as: UInt64.self)
            for (index, byte) in problem.utf8.prefix(Self.answerBytes - Self.word - 1).enumerated() {
                answer[Self.word + index] = byte
            }
            for other in 1..<max(size, 1) {
                try traffic.send(UnsafeRawBufferPointer(answer), to: other, Subject.hello)
            }
            try traffic.finishAll()
        }
        memory.deallocate()
        if !problem.isEmpty { throw LLaDAError(.cluster, problem) }
        return result
    }

    private static func name(_ version: UInt64) -> String {
        "\(version / 10000).\(version / 100 % 100).\(version % 100)"
    }

    /// Returns a text that ends with a NUL.
    private static func text(_ base: UnsafeRawPointer, most: Int) -> String {
        let bytes = UnsafeRawBufferPointer(start: base, count: most)
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
