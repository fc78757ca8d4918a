import Foundation
import LLaDA
import Testing

/// The conformance data: what the reference implementation computed.
package struct Fixture {
    package static let all = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures").path
    package static let conformance = "\(all)/conformance"
    package static let names = ["gqa_group", "mha_nogroup", "mini_like", "block_route"]

    package static func folder(_ name: String) -> String { "\(conformance)/\(name)" }

    package let folder: String
    private let data: Data
    private let entries: [String: [String: Any]]
    private let start: Int

    package init(_ name: String, of kind: String = "conformance") throws {
        folder = "\(Self.all)/\(kind)/\(name)"
        data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/forward.safetensors"))
        let length = Int(data[0..<8].withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        start = 8 + length
        let header = try JSONSerialization.jsonObject(with: data[8..<start]) as? [String: [String: Any]]
        entries = try #require(header)
    }

    package var names: [String] { entries.keys.sorted() }

    package func values<T>(_ name: String, as: T.Type = T.self) throws -> [T] {
        let offsets = try #require(entries[name]?["data_offsets"] as? [Int])
        return data[start + offsets[0]..<start + offsets[1]].withUnsafeBytes { bytes in
            (0..<bytes.count / MemoryLayout<T>.size).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
            }
        }
    }
}

/// [T, V] logits of a strict block-causal forward.
package func logits(_ model: Model, _ ids: [Int32], blockLength: Int) throws -> [Float] {
    var out = [Float](repeating: .nan, count: ids.count * model.config.vocabSize)
    try ids.withUnsafeBufferPointer { tokens in
        try out.withUnsafeMutableBufferPointer { try model.logits(tokens, blockLength: blockLength, into: $0) }
    }
    return out
}
