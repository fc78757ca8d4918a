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

    @Test func filesAppearTogether() throws {
        let temporary = try TemporaryFolder()
        let path = temporary.path + "/new"
        let folder = try NewFolder(path)
        try write(folder, "a", [[1, 2], [], [3]])
        try write(folder, "b", [])
        #expect(try names(path).allSatisfy { $0.hasSuffix(".partial") })
        try folder.publish()
        #expect(try names(path) == ["a", "b"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/a")) == Data([1, 2, 3]))
        expectRefusal(.io, [path, "not empty"]) { _ = try NewFolder(path) }
    }

    @Test func whatIsNotPublishedIsRemoved() throws {
        let temporary = try TemporaryFolder()
        let path = temporary.path + "/new"
        do {
            let folder = try NewFolder(path)
            try write(folder, "a", [[1]])
            // Two who write one file at a time: the second is told.
            expectRefusal(.io, [path, "not empty"]) { _ = try NewFolder(path) }
            expectRefusal(.io, ["\(path)/a", "File exists"]) { try write(folder, "a", [[2]]) }
        }
        #expect(try names(temporary.path) == [])
        // A folder that was there stays.
        do { try write(try NewFolder(temporary.path), "a", [[1]]) }
        #expect(try names(temporary.path) == [])
    }

    @Test func aNameThatIsTakenMeanwhileLeavesNoPart() throws {
        let temporary = try TemporaryFolder()
        do {
            let folder = try NewFolder(temporary.path)
            try write(folder, "a", [[1]])
            try write(folder, "b", [[1]])
            // No file can take the name of a folder.
            try FileManager.default.createDirectory(atPath: temporary.path + "/b", withIntermediateDirectories: false)
            expectRefusal(.io, ["/b", "directory"]) { try folder.publish() }
        }
        #expect(try names(temporary.path) == ["b"])
    }
}
