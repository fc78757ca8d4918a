import LLaDA
import TestSupport

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

/// A safetensors file of this header, whatever it says, and `dataCount` bytes of data.
func safetensors(_ header: String, dataCount: Int = 0) -> [UInt8] {
    let header = Array(header.utf8)
    let length = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) }
    return length + header + (0..<dataCount).map { UInt8(truncatingIfNeeded: $0) }
}

func readSafetensors(_ bytes: [UInt8]) throws -> Safetensors {
    try bytes.withUnsafeBytes { try Safetensors($0, file: "m.safetensors") }
}
