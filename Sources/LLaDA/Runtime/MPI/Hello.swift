import CLLaDA
import Glibc

/// The first messages of a cluster: every rank says what it is, and rank 0 whether that goes together. Their form is
/// the same in all versions.
enum Hello {
    /// "LLADAMPI".
    private static let magic: UInt64 = 0x4C4C_4144_414D_5049
    private static let version = UInt64(LLADA_VERSION_MAJOR * 10000 + LLADA_VERSION_MINOR * 100 + LLADA_VERSION_PATCH)
    private static let hostBytes = 64
    /// Magic and version; the host.
    private static let size = 16 + hostBytes
    /// Of the answer: a text, empty if all is well.
    private static let answerBytes = 512

    /// Exchanges them. Returns the hosts of the ranks, on rank 0; on others, that of rank 0.
    static func exchange(
        _ mpi: MPILibrary, _ comm: MPILibrary.Handle, rank: Int, size: Int, timeout: UInt64
    ) throws(LLaDAError) -> [String] {
        let traffic = Traffic(
            mpi, comm, size: size, rank: rank, timeout: timeout, hosts: [], TrafficCounters())
        // Of each rank, then the answer. For ever, if a transfer fails.
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Self.size * size + answerBytes, alignment: MemoryLayout<UInt64>.alignment)
        guard let base = memory.initializeMemory(as: UInt8.self, repeating: 0).baseAddress else { return [] }
        func place(_ rank: Int) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(start: base + rank * Self.size, count: Self.size)
        }
        func host(_ rank: Int) -> String { text(base + rank * Self.size + 16, most: hostBytes) }
        let answer = UnsafeMutableRawBufferPointer(start: base + size * Self.size, count: answerBytes)
        let own = place(rank)
        own.storeBytes(of: magic, as: UInt64.self)
        own.storeBytes(of: version, toByteOffset: 8, as: UInt64.self)
        own.withMemoryRebound(to: CChar.self) { own in
            if let own = own.baseAddress { gethostname(own + 16, hostBytes - 1) }
        }
        var problem = ""
        var hosts: [String] = []
        if rank > 0 {
            try traffic.send(UnsafeRawBufferPointer(own), to: 0, Subject.hello)
            _ = try traffic.receive(answer, from: 0, Subject.hello)
            try traffic.finishAll()
            problem = text(base + size * Self.size, most: answerBytes)
        } else {
            for other in 1..<max(size, 1) { _ = try traffic.receive(place(other), from: other, Subject.hello) }
            try traffic.finishAll()
            for other in 0..<size {
                let theirs = place(other).load(fromByteOffset: 8, as: UInt64.self)
                if place(other).load(as: UInt64.self) != magic {
                    problem = "rank \(other) is no llada of this byte order"
                } else if theirs != version {
                    problem = "rank \(other) has llada \(name(theirs)); expected \(name(version)), as rank 0 has"
                }
                hosts.append(host(other))
            }
            for (index, byte) in problem.utf8.prefix(answerBytes - 1).enumerated() { answer[index] = byte }
            for other in 1..<max(size, 1) {
                try traffic.send(UnsafeRawBufferPointer(answer), to: other, Subject.hello)
            }
            try traffic.finishAll()
        }
        memory.deallocate()
        if !problem.isEmpty { throw LLaDAError(.cluster, problem) }
        return hosts
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
