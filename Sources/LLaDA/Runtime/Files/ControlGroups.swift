/// The control groups of this process, as the system shows them in files: version 2, or the controllers of version 1
/// (`man 7 cgroups`).
package struct ControlGroups: Sendable {
    /// The folder in which /proc and the mounts are found; "" outside of tests.
    private let root: String

    package init(root: String = "") { self.root = root }

    /// A folder of a group.
    package struct Group: Sendable {
        package let folder: String
        /// Whether it is of version 2.
        package let isUnified: Bool
    }

    /// Returns the folders of the groups that a controller has this process in, and of all groups above them.
    package func groups(of controller: String) -> [Group] {
        SystemFile.lines("\(root)/proc/self/cgroup").flatMap { groups(of: controller, entry: $0) }
    }

    /// Returns those of a line of /proc/self/cgroup, "hierarchy:controllers:path".
    private func groups(of controller: String, entry line: Substring) -> [Group] {
        let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { return [] }
        let isUnified = fields[0] == "0" && fields[1].isEmpty
        guard isUnified || fields[1].split(separator: ",").contains(Substring(controller)) else { return [] }
        return mounts(of: controller, unified: isUnified).flatMap { mount in
            folders(of: String(fields[2]), in: mount).map { Group(folder: $0, isUnified: isUnified) }
        }
    }

    private struct Mount {
        let path: Substring
        /// The group that the mount shows at its top.
        let top: Substring
    }

    /// Returns where the groups of version 2, or those of a controller of version 1, are mounted.
    private func mounts(of controller: String, unified: Bool) -> [Mount] {
        SystemFile.lines("\(root)/proc/self/mountinfo").compactMap { line in
            let fields = line.split(separator: " ")
            // After some optional fields a "-" precedes type, source and options of the file system.
            guard fields.count >= 7, let dash = fields[6...].firstIndex(of: "-"), fields.count > dash + 3 else {
                return nil
            }
            let (type, options) = (fields[dash + 1], fields[dash + 3].split(separator: ","))
            guard unified ? type == "cgroup2" : type == "cgroup" && options.contains(Substring(controller)) else {
                return nil
            }
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
}
