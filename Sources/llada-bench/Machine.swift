import Foundation
import LLaDA
import Probes

/// The most that the machine can do, measured close to the run: a shared machine changes from second to second.
struct Machine {
    private let memory: UnsafeMutableRawPointer
    private let owner: AnyObject
    private let bytes = 512 << 20

    init(_ team: ThreadTeam) throws {
        (memory, owner) = try Arena(team: team).take(bytes)
        memory.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
    }

    /// Returns the GB/s at which all threads of the team together read memory that no cache holds.
    func bandwidth(_ team: ThreadTeam) -> Double {
        let pieces = team.size * 8
        let piece = bytes / pieces
        let time = seconds { team.forEach(pieces) { index, _ in _ = probe_read(memory + index * piece, piece) } }
        return Double(bytes) / time / 1e9
    }

    /// Returns the G(FL)OP/s of all threads of the team in registers.
    static func arithmetic(_ team: ThreadTeam, _ kind: probe_kind) -> Double {
        let operations = probe_arithmetic(kind, 1)
        guard operations > 0 else { return 0 }
        let rounds = 200_000
        let time = seconds { team.forEach(team.size) { _, _ in _ = probe_arithmetic(kind, rounds) } }
        return operations * Double(rounds * team.size) / time / 1e9
    }

    /// The most memory that this process has held, in bytes.
    static var peakMemory: Int {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        return usage.ru_maxrss << 10
    }
}

func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    try body()
    return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
}
