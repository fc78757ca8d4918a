/// The share of the machine that the process's control groups allow it, as containers limit their CPUs. Who starts a
/// thread for each CPU of the machine in spite of such a limit is stopped for most of every period, in the midst of
/// work. (`man 7 cgroups`; the kernel's documents of `cpu.max` and `cpu.cfs_quota_us`.)
package struct CPUQuota: Sendable {
    /// The folder in which /proc and the mounts are found; "" outside of tests.
    private let root: String

    package init(root: String = "") { self.root = root }

    /// The number of CPUs, rounded down, but at least 1; nil without a limit. The process has the least of what its
    /// group and all groups above it are allowed.
    package var cpus: Int? {
        let all = SystemFile.lines("\(root)/proc/self/cgroup").flatMap { quotas(ofEntry: $0) }
        return all.min().map { max(1, Int($0)) }
    }

    /// Returns the quotas of the group in a line of /proc/self/cgroup, "hierarchy:controllers:path", and of the groups
    /// above it, in CPUs.
    private func quotas(ofEntry line: Substring) -> [Double] {
        let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { return [] }
        let isUnified = fields[0] == "0" && fields[1].isEmpty
        guard isUnified || fields[1].split(separator: ",").contains("cpu") else { return [] }
        return mounts(unified: isUnified).flatMap { mount in
            folders(of: String(fields[2]), in: mount).compactMap { isUnified ? unified($0) : legacy($0) }
        }
    }

    private struct Mount {
        let path: Substring
        /// The group that the mount shows at its top.
        let top: Substring
    }

    /// Returns where the groups of version 2, or those of the controller "cpu" of version 1, are mounted.
    private func mounts(unified: Bool) -> [Mount] {
        SystemFile.lines("\(root)/proc/self/mountinfo").compactMap { line in
            let fields = line.split(separator: " ")
            // After some optional fields a "-" precedes type, source and options of the file system.
            guard fields.count >= 7, let dash = fields[6...].firstIndex(of: "-"), fields.count > dash + 3 else {
                return nil
            }
            let (type, options) = (fields[dash + 1], fields[dash + 3].split(separator: ","))
            guard unified ? type == "cgroup2" : type == "cgroup" && options.contains("cpu") else { return nil }
            return Mount(path: fields[4], top: fields[3])
        }
    }

    /// Returns the folders of a group and of all groups above it that the mount shows.
    private func folders(of group: String, in mount: Mount) -> [String] {
        var path = Substring(group)
        if mount.top != "/" {
            // A container may see its own group at the top of the mount, and its path from outside.
            path = path.hasPrefix(mount.top) ? path.dropFirst(mount.top.count) : ""
        }
        var parts = path.split(separator: "/")
        if parts.contains("..") { parts = [] }  // the group is outside of what the namespace shows
        return (0...parts.count).map { count in
            "\(root)\(mount.path)" + parts[..<count].map { "/" + $0 }.joined()
        }
    }

    /// Returns the quota in `cpu.max`: "150000 100000", or "max 100000" for none.
    private func unified(_ folder: String) -> Double? {
        let fields = SystemFile.lines("\(folder)/cpu.max").first?.split(separator: " ") ?? []
        guard fields.count == 2, let quota = Double(fields[0]), let period = Double(fields[1]) else { return nil }
        return Self.ratio(quota, period)
    }

    /// Returns the quota of version 1; a negative number means none.
    private func legacy(_ folder: String) -> Double? {
        guard let quota = SystemFile.lines("\(folder)/cpu.cfs_quota_us").first.flatMap({ Double($0) }),
            let period = SystemFile.lines("\(folder)/cpu.cfs_period_us").first.flatMap({ Double($0) })
        else { return nil }
        return Self.ratio(quota, period)
    }

    /// Returns the number of CPUs; nil for numbers that make no sense.
    private static func ratio(_ quota: Double, _ period: Double) -> Double? {
        guard quota > 0, period > 0, quota.isFinite, period.isFinite, quota / period < 1e6 else { return nil }
        return quota / period
    }
}
