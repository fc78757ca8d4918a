import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct NewFolderTests {
    private func write(_ folder: NewFolder, _ name: String, _ pieces: [[UInt8]]) throws {
        var told = 0
        let all = UnsafeMutableRawBufferPointer.allocate(byteCount: pieces.joined().count, alignment: 1)
        defer { all.deallocate() }
        all.copyBytes(from: pieces.joined())
        var start = 0
        let buffers = pieces.map { piece in
            defer { start += piece.count }
            return UnsafeRawBufferPointer(rebasing: all[start..<start + piece.count])
        }
        try folder.write(name, buffers) { (count) throws(LLaDAError) in told += count }
        #expect(told == all.count)
    }

    private func names(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }

    @Test(arguments: [true, false]) func filesAppearTogether(_ unnamed: Bool) throws {
        let temporary = try TemporaryFolder()
        let path = temporary.path + "/new"
        let folder = try NewFolder(path, unnamed: unnamed)
        try write(folder, "a", [[1, 2], [], [3]])
        try write(folder, "b", [])
        #expect(try names(path).allSatisfy { $0.hasPrefix(".llada-partial-") })
        try folder.publish()
        #expect(try names(path) == ["a", "b"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/a")) == Data([1, 2, 3]))
        expectRefusal(.io, [path, "not empty"]) { _ = try NewFolder(path) }
        #expect(try names(path) == ["a", "b"])
    }

    @Test(arguments: [true, false]) func whatIsNotPublishedIsRemoved(_ unnamed: Bool) throws {
        let temporary = try TemporaryFolder()
        let path = temporary.path + "/new"
        do {
            let folder = try NewFolder(path, unnamed: unnamed)
            try write(folder, "a", [[1]])
            // Two who write one folder at a time: the second is told.
            expectRefusal(.io, [path, "not empty"]) { _ = try NewFolder(path) }
        }
        #expect(try names(temporary.path) == [])
        // A folder that was there stays.
        do { try write(try NewFolder(temporary.path, unnamed: unnamed), "a", [[1]]) }
        #expect(try names(temporary.path) == [])
    }

    @Test(arguments: [true, false]) func aNameThatIsTakenMeanwhileLeavesNoPart(_ unnamed: Bool) throws {
        let temporary = try TemporaryFolder()
        do {
            let folder = try NewFolder(temporary.path, unnamed: unnamed)
            try write(folder, "a", [[1]])
            try write(folder, "b", [[1]])
            // No file can take the name of a folder.
            try FileManager.default.createDirectory(atPath: temporary.path + "/b", withIntermediateDirectories: false)
            expectRefusal(.io, ["/b", "File exists"]) { try folder.publish() }
        }
        #expect(try names(temporary.path) == ["b"])
    }

    /// What a process leaves that is killed between any two of its calls.
    @Test func leftoversAreReclaimed() throws {
        let sign = ".llada-partial-folder"
        for left in [
            [".llada-partial-0": "half"], [sign: ""], [sign: "", ".llada-partial-0": "half"],
            [sign: "a\nb", "a": "whole"], [sign: "a\nb", ".llada-partial-1": "half"],
        ] {
            let temporary = try TemporaryFolder()
            for (name, content) in left { try temporary.write(name, content) }
            let folder = try NewFolder(temporary.path)
            try write(folder, "a", [[1]])
            try folder.publish()
            #expect(try names(temporary.path) == ["a"])
        }
    }

    @Test func whatIsNotOursIsNeverRemoved() throws {
        let sign = ".llada-partial-folder"
        for (left, stays) in [
            (["x": "a file of the user"], ["x"]),
            ([sign: "../y\n/etc/hostname\nb", "x": "a file of the user"], ["x"]),
            // All names were given: the folder is complete.
            ([sign: "a\nb", "a": "whole", "b": "whole"], ["a", "b"]),
        ] {
            let outer = try TemporaryFolder()
            try outer.write("y", "of another folder")
            let path = outer.path + "/inner"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            for (name, content) in left { try Data(content.utf8).write(to: URL(fileURLWithPath: path + "/" + name)) }
            expectRefusal(.io, [path, "not empty"]) { _ = try NewFolder(path) }
            #expect(try names(path) == stays)
            #expect(try names(outer.path) == ["inner", "y"])
        }
    }
}
