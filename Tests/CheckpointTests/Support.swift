import Foundation
import LLaDA
import Testing

/// Asserts that `body` is refused with this status and a message that holds every one of these parts.
func expectRefusal(
    _ status: Status, _ parts: [String], _ name: String = "", sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("\(name): accepted; expected \(status) \(parts)", sourceLocation: sourceLocation)
    } catch let error as LLaDAError {
        #expect(error.status == status, "\(name): \(error)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(error.message.contains(part), "\(name): \(error) lacks \(part)", sourceLocation: sourceLocation)
        }
    } catch {
        Issue.record("\(name): \(error)", sourceLocation: sourceLocation)
    }
}

/// SplitMix64: the same mutations on every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// One to three small injuries: a flipped bit, another byte, a cut, a repeated piece, a removed piece. Only the first
/// `span` bytes are touched, so that the structure is hit and not the payload.
func mutated(_ bytes: [UInt8], span: Int = .max, using generator: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &generator) where !bytes.isEmpty {
        let limit = min(span, bytes.count)
        let place = Int.random(in: 0..<limit, using: &generator)
        let end = min(limit, place + Int.random(in: 1...12, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 2: bytes[place] = Array("{}[]\",:\\0123456789-+.eEtfnu \n".utf8).randomElement(using: &generator) ?? 0
        case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
        case 4: bytes.removeSubrange(place..<end)
        default: bytes.removeSubrange(place...)
        }
    }
    return bytes
}

/// A folder under the system's temporary one, removed with the value.
final class TemporaryFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/llada-tests-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
        return path + "/" + name
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }
}

/// A safetensors file of this header, whatever it says, and `dataCount` bytes of data.
func safetensors(_ header: String, dataCount: Int = 0) -> [UInt8] {
    let header = Array(header.utf8)
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    return length + header + (0..<dataCount).map { UInt8(truncatingIfNeeded: $0) }
}

func readSafetensors(_ bytes: [UInt8]) throws -> Safetensors {
    try bytes.withUnsafeBytes { try Safetensors($0, file: "m.safetensors") }
}

let conformanceFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/conformance").path
let conformanceNames = ["gqa_group", "mha_nogroup", "mini_like", "block_route"]
