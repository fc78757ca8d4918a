import LLaDA
import TestSupport
import Testing

/// Quotas in trees of files like those that Linux shows.
@Suite struct CPUQuotaTests {
    private func cpus(_ files: [String: String]) throws -> Int? {
        let root = try TemporaryFolder()
        for (name, text) in files { try root.write(name, text) }
        return CPUQuota(root: root.path).cpus
    }

    private let two = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    private let one = "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"

    @Test(
        arguments: [
            ("150000 100000\n", 1), ("100000 100000\n", 1), ("50000 100000\n", 1), ("1000 100000\n", 1),
            ("800000 100000\n", 8), ("799999 100000\n", 7), ("max 100000\n", nil), ("", nil), ("x y\n", nil),
            ("0 100000\n", nil), ("100 0\n", nil), ("1e300 1e-300\n", nil), ("nan 1\n", nil),
        ] as [(String, Int?)]) func version2(_ text: String, _ expected: Int?) throws
    {
        #expect(
            try cpus([
                "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": two, "sys/fs/cgroup/a/b/cpu.max": text,
            ]) == expected)
    }

    /// The tightest of the chain counts, wherever it is.
    @Test func theWholeChain() throws {
        for (top, middle, own, expected) in [("max", "200000", "400000", 2), ("100000", "max", "max", 1)] {
            #expect(
                try cpus([
                    "proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": two,
                    "sys/fs/cgroup/cpu.max": "\(top) 100000", "sys/fs/cgroup/a/cpu.max": "\(middle) 100000",
                    "sys/fs/cgroup/a/b/cpu.max": "\(own) 100000",
                ]) == expected)
        }
    }

    @Test(arguments: [("300000", "100000", 3), ("-1", "100000", nil)] as [(String, String, Int?)])
    func version1(_ quota: String, _ period: String, _ expected: Int?) throws {
        let folder = "sys/fs/cgroup/cpu,cpuacct/docker/x/"
        #expect(
            try cpus([
                "proc/self/cgroup": "9:memory:/other\n3:cpu,cpuacct:/docker/x\n0::/\n", "proc/self/mountinfo": one,
                folder + "cpu.cfs_quota_us": quota, folder + "cpu.cfs_period_us": period,
            ]) == expected)
    }

    /// Both versions at once: the controller is with the one, and the other has nothing to say.
    @Test func bothVersions() throws {
        let folder = "sys/fs/cgroup/cpu,cpuacct/"
        #expect(
            try cpus([
                "proc/self/cgroup": "3:cpu,cpuacct:/\n0::/\n", "proc/self/mountinfo": one + two,
                folder + "cpu.cfs_quota_us": "250000", folder + "cpu.cfs_period_us": "100000",
            ]) == 2)
    }

    /// A container that sees its own group at the top of the mount, by its path from outside or by "..".
    @Test func containers() throws {
        for (group, top) in [("/docker/x", "/docker/x"), ("/docker/x", "/kubepods/y"), ("/../..", "/")] {
            #expect(
                try cpus([
                    "proc/self/cgroup": "0::\(group)\n",
                    "proc/self/mountinfo": "30 23 0:26 \(top) /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                    "sys/fs/cgroup/cpu.max": "600000 100000",
                ]) == 6)
        }
    }

    @Test func nothingIsKnown() throws {
        #expect(try cpus([:]) == nil)
        #expect(
            try cpus(["proc/self/cgroup": "\n:::\nx\n0::/a\n", "proc/self/mountinfo": "- - -\n1 2 3 4 5 6 - 7\n"])
                == nil)
    }

    @Test func threadsAreAtLeastOne() {
        #expect(ThreadTeam.availableThreads >= 1)
    }
}
