import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct InputFileTests {
    private func bytes(_ file: InputFile, _ range: Range<Int>) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        try bytes.withUnsafeMutableBytes { try file.read(range.lowerBound, into: $0) }
        return bytes
    }

    @Test func readsAndMapsFiles() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("f", [1, 2, 3])
        let file = try InputFile(path)
        #expect(file.size == 3)
        #expect(try bytes(file, 0..<3) == [1, 2, 3] && bytes(file, 1..<2) == [2])
        let mapping = try file.map()
        withExtendedLifetime(mapping) { #expect(mapping.bytes.elementsEqual([1, 2, 3])) }
        #expect(try FilePrefix(whole: try folder.write("empty", []), limit: 0).bytes.isEmpty)
        expectRefusal(.io, ["\(path) has 3 bytes", "at most 2"]) { _ = try FilePrefix(whole: path, limit: 2) }
        expectRefusal(.io, ["absent", "No such file"]) { _ = try InputFile(path + "absent") }
        expectRefusal(.io, [folder.path, "is a folder"]) { _ = try InputFile(folder.path) }
        expectRefusal(.io, ["/dev/null is a device"]) { _ = try InputFile("/dev/null") }
        expectRefusal(.io, ["NUL byte"]) { _ = try InputFile(path + "\u{0}") }
        // A pipe without a writer must not block.
        #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
        expectRefusal(.io, ["pipe is a device, pipe or socket"]) { _ = try InputFile(folder.path + "/pipe") }
        if geteuid() != 0 {
            chmod(path, 0)
            expectRefusal(.io, ["Permission denied"]) { _ = try InputFile(path) }
        }
    }

    /// Asking for parts changes no byte, wherever they begin and end, and does no harm where the file was cut.
    @Test func partsAreReadAhead() throws {
        let folder = try TemporaryFolder()
        let content = (0..<1_000_003).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 8) }
        let path = try folder.write("f", content)
        let mapping = try InputFile(path).map()
        withExtendedLifetime(mapping) {
            for part in [0..<1, 5..<5, 4095..<4097, 100..<900_000, 999_999..<1_000_003, 0..<1_000_003] {
                let bytes = UnsafeRawBufferPointer(rebasing: mapping.bytes[part])
                mapping.expectRandom(bytes)
                mapping.readAhead(bytes)
                #expect(bytes.elementsEqual(content[part]))
            }
            #expect(truncate(path, 5000) == 0)
            mapping.readAhead(mapping.bytes)
            #expect(mapping.bytes[4999] == content[4999])
        }
    }

    @Test func filesThatChangeAreNoticed() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("f", [1, 2, 3, 4])
        let file = try InputFile(path)
        try file.checkUnchanged()
        // Another file of the same name is another file.
        _ = try folder.write("other", [9])
        #expect(rename(folder.path + "/other", path) == 0)
        try file.checkUnchanged()
        #expect(try bytes(file, 0..<4) == [1, 2, 3, 4])

        let cut = try InputFile(path)
        #expect(truncate(path, 0) == 0)
        expectRefusal(.io, ["\(path) ends early: 0 of 1 bytes could be read"]) { _ = try bytes(cut, 0..<1) }
        expectRefusal(.io, ["\(path) has changed since it was opened: it has 0 bytes, and had 1"]) {
            try cut.checkUnchanged()
        }
        let written = try InputFile(try folder.write("g", [1]))
        let later = timeval(tv_sec: 1, tv_usec: 0)
        #expect(utimes(written.path, [later, later]) == 0)
        expectRefusal(.io, ["it was written to"]) { try written.checkUnchanged() }
    }

    @Test func aPrefixReadsAsFarAsItIsAsked() throws {
        let folder = try TemporaryFolder()
        let all = (0..<1 << 18).map { UInt8(truncatingIfNeeded: $0 * 7 / 5) }
        let prefix = try FilePrefix(try InputFile(try folder.write("f", all)))
        for end in [1, 1000, 70_000, 70_001, 200_000, 1 << 18, 1 << 30] {
            try prefix.reach(end)
            let count = prefix.bytes.count
            #expect(count >= min(end, all.count) && prefix.bytes.elementsEqual(all[..<count]))
        }
    }

    @Test func tooLittleMemoryIsAnError() throws {
        // A sparse file of 8 TiB. A kernel that hands out memory it does not have is none to try this on.
        let folder = try TemporaryFolder()
        let path = try folder.write("huge", [])
        guard truncate(path, 1 << 43) == 0 else { return }
        let policy = (try? String(contentsOfFile: "/proc/sys/vm/overcommit_memory", encoding: .utf8)) ?? "1"
        if policy.hasPrefix("1") { return }
        expectRefusal(.outOfMemory, ["no memory"]) { _ = try FilePrefix(whole: path, limit: .max) }
    }
}
