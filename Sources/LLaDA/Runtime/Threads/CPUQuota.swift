/// The share of the machine that the process's control groups allow it, as containers limit their CPUs. Who starts a
/// thread for each CPU of the machine in spite of such a limit is stopped for most of every period, in the midst of
/// work. (`man 7 cgroups`; the kernel's documents of `cpu.max` and `cpu.cfs_quota_us`.)
package struct CPUQuota: Sendable {
    private let groups: ControlGroups

    package init(root: String = "") { groups = ControlGroups(root: root) }

    /// The number of CPUs, rounded down, but at least 1; nil without a limit. The process has the least of what its
    /// group and all groups above it are allowed.
    package var cpus: Int? {
        let all = groups.groups(of: "cpu").compactMap { $0.isUnified ? unified($0.folder) : legacy($0.folder) }
        return all.min().map { max(1, Int($0)) }
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
