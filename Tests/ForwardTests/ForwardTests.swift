import Foundation
import LLaDA
import Testing

/// The conformance data: what the reference implementation computed.
struct Fixture {
    static let all = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures").path
    static let names = ["gqa_group", "mha_nogroup", "mini_like", "block_route"]

    let folder: String
    private let data: Data
    private let entries: [String: [String: Any]]
    private let start: Int

    init(_ name: String, of kind: String = "conformance") throws {
        folder = "\(Self.all)/\(kind)/\(name)"
        data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/forward.safetensors"))
        let length = Int(data[0..<8].withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        start = 8 + length
        let header = try JSONSerialization.jsonObject(with: data[8..<start]) as? [String: [String: Any]]
        entries = try #require(header)
    }

    var names: [String] { entries.keys.sorted() }

    func values<T>(_ name: String, as: T.Type = T.self) throws -> [T] {
        let offsets = try #require(entries[name]?["data_offsets"] as? [Int])
        return data[start + offsets[0]..<start + offsets[1]].withUnsafeBytes { bytes in
            (0..<bytes.count / MemoryLayout<T>.size).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
            }
        }
    }
}

func logits(_ model: Model, _ ids: [Int32], blockLength: Int) throws -> [Float] {
    var out = [Float](repeating: .nan, count: ids.count * model.config.vocabSize)
    try ids.withUnsafeBufferPointer { tokens in
        try out.withUnsafeMutableBufferPointer { try model.logits(tokens, blockLength: blockLength, into: $0) }
    }
    return out
}

@Suite struct ForwardConformance {
    @Test(arguments: Fixture.names) func logitsAreTheReferences(_ name: String) throws {
        let fixture = try Fixture(name)
        try Self.compare(try Model(path: fixture.folder), fixture, name)
    }

    static func compare(_ model: Model, _ fixture: Fixture, _ name: String) throws {
        let cases = fixture.names.filter { $0.hasSuffix(".ids") }
        #expect(cases.count >= 2)
        for ids in cases {
            let prefix = String(ids.dropLast(4))
            // "B8.ids" names the block length; "T24.ids" only the length, with blocks of the routing block's size.
            let block = prefix.hasPrefix("B") ? Int(prefix.dropFirst())! : model.config.blockSize
            let ours = try logits(model, try fixture.values(ids), blockLength: block)
            let theirs: [Float] = try fixture.values("\(prefix).logits")
            #expect(ours.count == theirs.count)
            let worst = zip(ours, theirs).map { abs($0 - $1) }.max() ?? .infinity
            #expect(worst < 2e-4, "\(name) \(prefix): \(worst)")
        }
    }
}
