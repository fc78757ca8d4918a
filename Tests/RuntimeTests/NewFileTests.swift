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

    @Test func aFileAppearsWhole() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("a", [9, 9, 9])
        do {
            let file = try NewFile(path)
            try write(file, [1, 2])
            try write(file, [])
            try write(file, [3])
            #expect(try read(path) == [9, 9, 9])
            try file.publish()
            #expect(try read(path) == [1, 2, 3])
        }
        #expect(try names(folder.path) == ["a"])
    }

    @Test func whatIsNotPublishedIsRemoved() throws {
        let folder = try TemporaryFolder()
        do { try write(try NewFile(folder.path + "/a"), [1]) }
        #expect(try names(folder.path) == [])
    }

    /// Two who write one name at a time, and what a program that was killed left behind: the last to publish wins.
    @Test func writersDoNotMeet() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/a"
        try folder.write("a.partial0", "left behind")
        let (one, two) = (try NewFile(path), try NewFile(path))
        try write(one, [1])
        try write(two, [2])
        try two.publish()
        try one.publish()
        #expect(try read(path) == [1])
        #expect(try names(folder.path) == ["a", "a.partial0"])
    }

    @Test func whereNothingCanBeWrittenIsRefused() throws {
        let folder = try TemporaryFolder()
        expectRefusal(.io, ["\(folder.path)/no/where", "No such file"]) { _ = try NewFile(folder.path + "/no/where") }
        // A folder gives its name to no file.
        try FileManager.default.createDirectory(atPath: folder.path + "/b", withIntermediateDirectories: false)
        do {
            let file = try NewFile(folder.path + "/b")
            expectRefusal(.io, ["\(folder.path)/b", "directory"]) { try file.publish() }
        }
        // As many beginnings as there may be.
        for number in 0..<100 { try folder.write("c.partial\(number)", "") }
        expectRefusal(.io, ["\(folder.path)/c", "File exists"]) { _ = try NewFile(folder.path + "/c") }
        #expect(try names(folder.path).filter { $0.hasPrefix("b") } == ["b"])
    }
}
