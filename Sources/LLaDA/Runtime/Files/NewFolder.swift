import Glibc

/// A new folder whose files appear together or not at all: they get their names when all of them are complete and on
/// the disk. What a killed process has left in a folder, the next one that is to write there removes.
///
/// Paths are C strings, because a file name on Linux need not be UTF-8.
package final class NewFolder {
    private let path: String  // for messages
    private let folder: FolderDescriptor
    private let unnamed: Bool
    /// The path of the folder if this object made it, else nil.
    private var made: [CChar]?
    private var files: [(name: String, file: PartialFile)] = []
    /// The sign that a save is at work, which holds the names that it is about to give.
    private var sign: PartialFile?

    private static let signName = Array((PartialFile.prefix + "folder").utf8CString)
    private static let signLimit = 1 << 12  // the names of a folder's files are those of SideFiles and the weights

    /// Makes the folder `name`, or takes it if it is there and empty. With `unnamed` false, files have temporary names
    /// while they are written. Throws `.io` if the folder holds anything.
    package init(_ name: UnsafePointer<CChar>, unnamed: Bool = true) throws(LLaDAError) {
        let path = String(cString: name)
        let isNew = retrying { mkdir(name, 0o777) } == 0
        if !isNew && errno != EEXIST { throw LLaDAError(cannot: "make the folder \(path)", errno: errno) }
        guard let folder = FolderDescriptor(name) else {
            let code = errno
            if isNew { _ = retrying { rmdir(name) } }
            throw LLaDAError(cannot: "open the folder \(path)", errno: code)
        }
        self.path = path
        self.folder = folder
        self.unnamed = unnamed
        made = isNew ? Array(UnsafeBufferPointer(start: name, count: strlen(name) + 1)) : nil
        // From here on `deinit` cleans up: after an error nothing is left that was not there before.
        try begin()
    }

    deinit {
        files = []  // their temporary names go before the folder does
        if sign != nil { removeSign() }
        if let made { _ = retrying { rmdir(made) } }
    }

    /// Takes the folder if it is empty.
    private func begin() throws(LLaDAError) {
        guard Self.reclaimSign(in: folder), let sign = PartialFile(in: folder, mode: 0o666, unnamed: unnamed) else {
            throw notEmpty
        }
        if !sign.take(Self.signName) { throw errno == EEXIST ? notEmpty : error("", errno) }
        self.sign = sign
        guard let names = folder.names() else {
            throw LLaDAError(cannot: "list the folder \(path)", errno: errno)
        }
        for name in names where name != Self.signName {
            let text = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix(PartialFile.prefix), PartialFile.reclaim(text, in: folder) else { throw notEmpty }
        }
    }

    private var notEmpty: LLaDAError { LLaDAError(.io, "\(path) is not empty; expected a folder that is, or none") }

    // MARK: The sign

    private func removeSign() { folder.remove(Self.signName) }

    /// Removes what a killed process has left: its sign, and the files that already had their names, unless it was the
    /// last of them that came, and nothing is missing. Returns whether there is no sign any more.
    private static func reclaimSign(in folder: FolderDescriptor) -> Bool {
        PartialFile.reclaim(signName, in: folder) { sign in
            var content = [UInt8](repeating: 0, count: signLimit)
            let count = retrying { pread(sign, &content, content.count, 0) }
            let names = content[..<max(0, count)].split(separator: 0x0A).filter { !$0.contains(0x2F) }.map { name in
                name.map { CChar(bitPattern: $0) } + [0]
            }
            var status = stat()
            let isComplete = names.last.map { fstatat(folder.number, $0, &status, AT_SYMLINK_NOFOLLOW) == 0 } ?? false
            if isComplete { return }
            for name in names { folder.remove(name) }
        }
    }

    // MARK: Files

    /// Writes one file of `pieces`. `progress` receives the number of bytes written since its last call.
    package func write(
        _ name: String, _ pieces: some Sequence<UnsafeRawBufferPointer>, progress: (Int) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        guard let file = PartialFile(in: folder, mode: 0o666, unnamed: unnamed) else { throw error(name, errno) }
        for bytes in pieces {
            try file.write(bytes, failed: { error(name, $0) }, progress: progress)
        }
        if !file.sync() { throw error(name, errno) }
        files.append((name, file))
    }

    /// Gives all files their names, in the order in which they were written.
    package func publish() throws(LLaDAError) {
        let names = Array(files.map(\.name).joined(separator: "\n").utf8)
        try names.withUnsafeBufferPointer { (names) throws(LLaDAError) in
            try sign?.write(UnsafeRawBufferPointer(names), failed: { error("", $0) })
        }
        if sign?.sync() == false { throw error("", errno) }
        for (index, (name, file)) in files.enumerated() where !file.take(Array(name.utf8CString)) {
            let code = errno
            for (name, _) in files[..<index] { folder.remove(Array(name.utf8CString)) }
            throw error(name, code)
        }
        folder.sync()
        made = nil
        files = []
        removeSign()
        sign = nil
    }

    private func error(_ name: String, _ code: Int32) -> LLaDAError {
        LLaDAError(cannot: "write \(path)/\(name)", errno: code)
    }
}
