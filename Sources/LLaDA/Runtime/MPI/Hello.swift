import CLLaDA
import Glibc

/// The first messages of a cluster: every rank says what it is, and rank 0 whether that goes together. Their form is the
/// same in all versions.
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
        // For ever, if a transfer fails.
        let own = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.size, alignment: 8)
        let others = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.size * max(size, 1), alignment: 8)
        let answer = UnsafeMutableRawBufferPointer.allocate(byteCount: answerBytes, alignment: 8)
        for memory in [own, others, answer] { memory.initializeMemory(as: UInt8.self, repeating: 0) }
        own.storeBytes(of: magic, as: UInt64.self)
        own.storeBytes(of: version, toByteOffset: 8, as: UInt64.self)
        if let base = own.baseAddress {
            gethostname((base + 16).assumingMemoryBound(to: CChar.self), hostBytes - 1)
        }
        var problem = ""
        if rank > 0 {
            try traffic.send(UnsafeRawBufferPointer(own), to: 0, Subject.hello)
            _ = try traffic.receive(answer, from: 0, Subject.hello)
            try traffic.finishAll()
            problem = text(answer[...])
        } else {
            var numbers: [Int] = []
            for other in 1..<max(size, 1) {
                let place = UnsafeMutableRawBufferPointer(rebasing: others[other * Self.size..<(other + 1) * Self.size])
                numbers.append(try traffic.receive(place, from: other, Subject.hello))
            }
            for number in numbers { try traffic.finish(number) }
            for other in 1..<max(size, 1) where problem.isEmpty {
                let found = UnsafeRawBufferPointer(rebasing: others[other * Self.size..<(other + 1) * Self.size])
                let theirs = found.load(fromByteOffset: 8, as: UInt64.self)
                if found.load(as: UInt64.self) != magic {
                    problem = "rank \(other) is no llada of this byte order"
                } else if theirs != version {
                    problem = "rank \(other) has llada \(name(theirs)); expected \(name(version)), as rank 0 has"
                }
            }
            answer.copyBytes(from: Array(problem.utf8.prefix(answerBytes - 1)))
            for other in 1..<max(size, 1) {
                try traffic.send(UnsafeRawBufferPointer(answer), to: other, Subject.hello)
            }
            try traffic.finishAll()
        }
        var hosts = [text(own[16...])]
        if rank == 0 {
            for other in 1..<max(size, 1) { hosts.append(text(others[other * Self.size + 16..<(other + 1) * Self.size])) }
        }
        for memory in [own, others, answer] { memory.deallocate() }
        if !problem.isEmpty { throw LLaDAError(.cluster, problem) }
        return rank == 0 ? hosts : []
    }

    private static func name(_ version: UInt64) -> String {
        "\(version / 10000).\(version / 100 % 100).\(version % 100)"
    }

    private static func text(_ bytes: Slice<UnsafeMutableRawBufferPointer>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
