import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct NewFileTests {
    private func write(_ file: NewFile, _ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try file.write($0) } }

    private func read(_ path: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) }

    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test(arguments: [true, false]) func aFileAppearsWhole(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("a", [9, 9, 9])
        do {
            let file = try NewFile(path, unnamed: unnamed)
            try write(file, [1, 2])
            try write(file, [])
            try write(file, [3])
            #expect(try read(path) == [9, 9, 9])
            try file.publish()
            #expect(try read(path) == [1, 2, 3])
        }
        #expect(try names(folder.path) == ["a"])
    }

    @Test(arguments: [true, false]) func whatIsNotPublishedIsRemoved(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        do { try write(try NewFile(folder.path + "/a", unnamed: unnamed), [1]) }
        #expect(try names(folder.path) == [])
    }

    /// Two who write one name at a time: the last to publish wins.
    @Test(arguments: [true, false]) func writersDoNotMeet(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a"
        let (one, two) = (try NewFile(path, unnamed: unnamed), try NewFile(path, unnamed: unnamed))
        try write(one, [1])
        try write(two, [2])
        try two.publish()
        try one.publish()
        #expect(try read(path) == [1])
        #expect(try names(folder.path) == ["a"])
    }

    /// A killed writer's file goes with the next save, one that is at work stays. No limit is ever reached.
    @Test(arguments: [true, false]) func leftoversAreReclaimed(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        for number in 0..<5 { try folder.write(".llada-partial-\(number)", "left behind") }
        let atWork = open(folder.path + "/.llada-partial-1", O_RDONLY)
        #expect(flock(atWork, LOCK_EX) == 0)
        defer { close(atWork) }
        for number in 0..<10 {
            let file = try NewFile(folder.path + "/a", unnamed: unnamed)
            try write(file, [UInt8(number)])
            try file.publish()
        }
        #expect(try read(folder.path + "/a") == [9])
        // The first name was free for all of them, so none asked for a later one.
        #expect(
            try names(folder.path) == [
                ".llada-partial-1", ".llada-partial-2", ".llada-partial-3", ".llada-partial-4", "a",
            ])
        // Two at a time: the one at work is passed over, and what nobody holds is taken.
        let (one, two) = (
            try NewFile(folder.path + "/b", unnamed: false), try NewFile(folder.path + "/c", unnamed: false)
        )
        try write(one, [1])
        try write(two, [2])
        try one.publish()
        try two.publish()
        #expect(try names(folder.path) == [".llada-partial-1", ".llada-partial-3", ".llada-partial-4", "a", "b", "c"])
    }

    @Test(arguments: [true, false]) func modeIsThatOfTheFileBefore(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("a", [1])
        for mode: mode_t in [0o600, 0o640, 0o444, 0o777] {
            #expect(chmod(path, mode) == 0)
            let file = try NewFile(path, unnamed: unnamed)
            try write(file, [2])
            try file.publish()
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == mode)
        }
        let mask = umask(0o027)
        defer { umask(mask) }
        try NewFile(folder.path + "/b", unnamed: unnamed).publish()
        var status = stat()
        #expect(stat(folder.path + "/b", &status) == 0 && status.st_mode & 0o7777 == 0o640)
    }

    @Test func aLinkStaysAndTheFileBehindItIsReplaced() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("a", [1])
        let link = folder.path + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "a")
        let file = try NewFile(link)
        try write(file, [2])
        try file.publish()
        #expect(try read(path) == [2])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "a")
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/loose", withDestinationPath: "nothing")
        expectRefusal(.io, ["loose", "link"]) { _ = try NewFile(folder.path + "/loose") }
    }

    @Test(arguments: [true, false]) func namesMayHave255Bytes(_ unnamed: Bool) throws {
        let folder = try TemporaryFolder()
        let name = String(repeating: "n", count: 255)
        try NewFile(folder.path + "/" + name, unnamed: unnamed).publish()
        #expect(try names(folder.path) == [name])
        expectRefusal(.io, ["too long"]) { try NewFile(folder.path + "/n" + name, unnamed: unnamed).publish() }
        #expect(try names(folder.path) == [name])
    }

    /// As root, a save to /dev/null must not take it from the machine.
    @Test func devicesPipesAndFoldersAreRefused() throws {
        let folder = try TemporaryFolder()
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        for path in ["/dev/null", "/dev/stdout", pipe] {
            expectRefusal(.io, [path, "a regular file, or none"]) { _ = try NewFile(path) }
        }
        var status = stat()
        #expect(lstat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
        #expect(lstat(pipe, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
        for path in [folder.path, folder.path + "/", "/"] {
            expectRefusal(.io, [path, "directory"]) { _ = try NewFile(path) }
        }
    }

    @Test func whereNothingCanBeWrittenIsRefused() throws {
        let folder = try TemporaryFolder()
        expectRefusal(.io, ["\(folder.path)/no/where", "No such file"]) { _ = try NewFile(folder.path + "/no/where") }
        expectRefusal(.io, ["No such file"]) { _ = try NewFile("") }
        // A folder that takes the name meanwhile keeps it.
        do {
            let file = try NewFile(folder.path + "/b")
            try FileManager.default.createDirectory(atPath: folder.path + "/b", withIntermediateDirectories: false)
            expectRefusal(.io, ["\(folder.path)/b", "directory"]) { try file.publish() }
        }
        #expect(try names(folder.path) == ["b"])
    }
}
