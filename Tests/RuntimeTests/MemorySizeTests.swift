import LLaDA
import TestSupport
import Testing

/// Limits of memory in trees of files like those that Linux shows.
@Suite struct MemorySizeTests {
    private func bytes(_ files: [String: String]) throws -> Int? {
        let root = try TemporaryFolder()
        for (name, text) in files { try root.write(name, text) }
        return MemorySize(root: root.path).bytes
    }

    private let two = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    private let one = "34 25 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
    private let machine = "MemFree: 5 kB\nMemTotal:       24000000 kB\n"
    private let all = 24_000_000 * 1024

    @Test(
        arguments: [
            ("4294967296\n", 4_294_967_296), ("max\n", 24_576_000_000), ("", 24_576_000_000),
            ("99999999999999\n", 24_576_000_000), ("-5\n", 24_576_000_000), ("0\n", 24_576_000_000),
            ("99999999999999999999999\n", 24_576_000_000),
        ])
    func version2(_ text: String, _ expected: Int) throws {
        #expect(
            try bytes([
                "proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": two,
                "sys/fs/cgroup/a/b/memory.max": text,
            ]) == expected)
    }

    /// The tightest of the chain counts, wherever it is, and also without a word of the machine.
    @Test func theWholeChain() throws {
        for (top, middle, own) in [("max", "2000", "4000"), ("2000", "max", "max"), ("9000", "8000", "2000")] {
            #expect(
                try bytes([
                    "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": two,
                    "sys/fs/cgroup/memory.max": top, "sys/fs/cgroup/a/memory.max": middle,
                    "sys/fs/cgroup/a/b/memory.max": own,
                ]) == 2000)
        }
    }

    @Test func version1() throws {
        let files = [
            "proc/meminfo": machine, "proc/self/cgroup": "9:memory:/x\n3:cpu:/y\n0::/\n",
            "proc/self/mountinfo": one + two, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        ]
        #expect(try bytes(files) == all)
        let limit = ["sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1073741824\n"]
        #expect(try bytes(files.merging(limit) { $1 }) == 1 << 30)
    }

    @Test(arguments: ["", "MemTotal:\n", "MemTotal: x kB\n", "MemTotal: 0 kB\n", "MemTotal: 9223372036854775807 kB\n"])
    func nothingIsKnown(_ text: String) throws {
        #expect(try bytes(["proc/meminfo": text]) == nil)
    }
}
