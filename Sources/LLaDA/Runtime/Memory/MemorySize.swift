/// The memory that the process may have: the machine's, or what its control groups leave it of that, as containers
/// limit it. Pages of files count there as well, but they go when there is need. (`man 7 cgroups`; the kernel's
/// documents of `memory.max` and `memory.limit_in_bytes`.)
package struct MemorySize: Sendable {
    /// The folder in which /proc and the mounts are found; "" outside of tests.
    private let root: String

    package init(root: String = "") { self.root = root }

    /// In bytes; nil if that cannot be told.
    package var bytes: Int? {
        let limits = ControlGroups(root: root).groups(of: "memory").compactMap(limit)
        return (limits + [machine].compactMap { $0 }).min()
    }

    /// The machine's, from "MemTotal:       24576000 kB".
    private var machine: Int? {
        let line = SystemFile.lines("\(root)/proc/meminfo").first { $0.hasPrefix("MemTotal:") }
        guard let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }), kilobytes > 0 else {
            return nil
        }
        let (bytes, overflow) = kilobytes.multipliedReportingOverflow(by: 1024)
        return overflow ? nil : bytes
    }

    /// A group's own limit; nil for "max" and the like. Version 1 has a very large number for none.
    private func limit(_ group: ControlGroups.Group) -> Int? {
        let file = group.isUnified ? "memory.max" : "memory.limit_in_bytes"
        return SystemFile.lines("\(group.folder)/\(file)").first.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    }
}
