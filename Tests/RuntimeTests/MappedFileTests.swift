import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct MappedFileTests {
    @Test func mapsAndReadsFiles() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("f", [1, 2, 3])
        let empty = try folder.write("empty", [])
        for mapped in [true, false] {
            let file = try MappedFile(path, mapped: mapped)
            withExtendedLifetime(file) { #expect(file.bytes.elementsEqual([1, 2, 3])) }
            #expect(try MappedFile(empty, mapped: mapped).bytes.isEmpty)
            expectRefusal(.io, ["\(path) has 3 bytes", "at most 2"]) {
                _ = try MappedFile(path, mapped: mapped, limit: 2)
            }
            expectRefusal(.io, ["absent", "No such file"]) { _ = try MappedFile(path + "absent", mapped: mapped) }
            expectRefusal(.io, [folder.path, "is a folder"]) { _ = try MappedFile(folder.path, mapped: mapped) }
            expectRefusal(.io, ["/dev/null is a device"]) { _ = try MappedFile("/dev/null", mapped: mapped) }
        }
        // A pipe without a writer must not block.
        #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
        expectRefusal(.io, ["pipe is a device, pipe or socket"]) { _ = try MappedFile(folder.path + "/pipe") }
        if geteuid() != 0 {
            chmod(path, 0)
            expectRefusal(.io, ["Permission denied"]) { _ = try MappedFile(path) }
        }
    }

    @Test func tooLittleMemoryIsAnError() throws {
        // A sparse file of 8 TiB. Where the kernel hands out memory it does not have, the first piece read ends the
        // test.
        let folder = try TemporaryFolder()
        let path = try folder.write("huge", [])
        guard truncate(path, 1 << 43) == 0 else { return }
        func stop(_ part: Double) throws(LLaDAError) { throw LLaDAError(.stopped, "at \(part)") }
        do {
            _ = try MappedFile(path, mapped: false, progress: stop)
            Issue.record("8 TiB were read")
        } catch {
            if error.status == .stopped { return }
            #expect(error.status == .outOfMemory && error.message.contains("8796093022208 bytes of \(path)"))
        }
    }
}
