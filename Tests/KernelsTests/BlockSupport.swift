// Blocks of GGUF files as the tests make them, and what they stand for, decoded one number at a time.
import Kernels

/// A weight matrix in blocks of 32 inputs: [outputs, inputs / 32], row by row.
struct Blocks {
    let format: Format
    let outputs: Int
    let inputs: Int
    let memory: Guarded

    /// The bytes of a block.
    static func size(_ format: Format) -> Int { format == .q8_0 ? 34 : 18 }

    init(
        _ outputs: Int, _ inputs: Int, _ format: Format, spare: Int = 0, scale: (_ block: Int) -> Float16,
        number: (_ block: Int, _ index: Int) -> Int
    ) {
        self.format = format
        self.outputs = outputs
        self.inputs = inputs
        let size = Self.size(format), count = outputs * inputs / 32
        memory = Guarded(bytes: count * size + spare)
        for block in 0..<count {
            let start = memory.start + block * size
            start.storeBytes(of: scale(block).bitPattern, as: UInt16.self)
            let q = (0..<32).map { number(block, $0) }
            for j in 0..<size - 2 {
                let byte = format == .q8_0 ? UInt8(bitPattern: Int8(q[j])) : UInt8(8 + q[j] | (8 + q[j + 16]) << 4)
                start.storeBytes(of: byte, toByteOffset: 2 + j, as: UInt8.self)
            }
        }
    }

    /// Random numbers. Plain scales are around 1 / 128; others have any bits, without (wild) or with (special)
    /// infinities and NaN.
    init(_ outputs: Int, _ inputs: Int, _ format: Format, _ kind: Kind, spare: Int, _ g: inout Generator) {
        var (bits, random) = (g, g)
        self.init(outputs, inputs, format, spare: spare) { _ in
            let any = Float16(bitPattern: UInt16(truncatingIfNeeded: bits.next()))
            switch kind {
            case .plain: return Float16.random(in: -0x1p-6...0x1p-6, using: &bits)
            case .wild: return any.isFinite ? any : -Float16.leastNonzeroMagnitude
            case .special: return any
            }
        } number: { _, _ in
            random.size(format == .q8_0 ? -128...127 : -8...7)
        }
        g = random
    }

    /// The number of output o, input k, and the scale that goes with it, as the file has them.
    func element(_ o: Int, _ k: Int) -> (q: Int, scale: Float16) {
        let start = memory.start + (o * (inputs / 32) + k / 32) * Self.size(format), n = k % 32
        let scale = Float16(bitPattern: start.loadUnaligned(as: UInt16.self))
        if format == .q8_0 { return (Int(start.load(fromByteOffset: 2 + n, as: Int8.self)), scale) }
        let pair = start.load(fromByteOffset: 2 + n % 16, as: UInt8.self)
        return (Int(n < 16 ? pair & 15 : pair >> 4) - 8, scale)
    }
}
