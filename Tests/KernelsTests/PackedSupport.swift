// Packed matrices as the tests make them, and what packed.h says of them, written down once more.
import Kernels

/// How weights are packed.
enum Format: Int, CaseIterable, CustomStringConvertible {
    case bf16, int8, int4, q8_0, q4_0
    var llk: llk_format {
        [LLK_PACKED_BF16, LLK_PACKED_INT8, LLK_PACKED_INT4, LLK_PACKED_Q8_0, LLK_PACKED_Q4_0][rawValue]
    }
    var description: String { ["bf16", "int8", "int4", "Q8_0", "Q4_0"][rawValue] }

    /// Packed from numbers, which they round.
    static let ofNumbers: [Format] = [.bf16, .int8, .int4]
    /// Packed from the blocks of GGUF files.
    static let ofBlocks: [Format] = [.q8_0, .q4_0]

    /// The inputs that share a scale.
    var run: Int { self == .int8 ? 64 : 32 }

    /// Some number of inputs that a matrix of this format can have.
    func inputs(_ range: ClosedRange<Int>, _ g: inout Generator) -> Int {
        let inputs = g.size(range)
        return Format.ofBlocks.contains(self) ? (inputs + 31) / 32 * 32 : inputs
    }
}

func tiles(_ outputs: Int) -> Int { (outputs + 63) / 64 }

/// A weight matrix [outputs, inputs], packed.
struct Packed {
    let format: Format
    let outputs: Int
    let inputs: Int
    let memory: Guarded

    init(_ w: Guarded, _ dtype: llk_dtype, _ outputs: Int, _ inputs: Int, _ format: Format, _ by: Implementation) {
        self.init(outputs, inputs, format)
        fill(w, dtype, tiles: 0..<tiles(outputs), by)
    }

    /// Random weights.
    init(_ outputs: Int, _ inputs: Int, _ format: Format, _ kind: Kind, _ g: inout Generator, _ by: Implementation) {
        if Format.ofBlocks.contains(format) {
            self.init(Blocks(outputs, inputs, format, kind, spare: 0, &g))
        } else {
            let w = Weights(outputs * inputs, LLK_F32, kind, spare: 0, &g)
            self.init(w.memory, LLK_F32, outputs, inputs, format, by)
        }
    }

    init(_ blocks: Blocks) {
        self.init(blocks.outputs, blocks.inputs, blocks.format)
        fill(blocks, tiles: 0..<tiles(outputs))
    }

    /// Not yet filled.
    init(_ outputs: Int, _ inputs: Int, _ format: Format) {
        self.format = format
        self.outputs = outputs
        self.inputs = inputs
        memory = Guarded(bytes: llk_packed_size(format.llk, outputs, inputs))
    }

    func fill(_ w: Guarded, _ dtype: llk_dtype, tiles: Range<Int>, _ by: Implementation) {
        withExtendedLifetime(w) {
            by.packed(format.llk).pack(
                w.start, dtype, outputs, inputs, tiles.lowerBound, tiles.upperBound, memory.start)
        }
    }

    func fill(_ blocks: Blocks, tiles: Range<Int>) {
        withExtendedLifetime(blocks.memory) {
            llk_pack_blocks(
                format.llk, blocks.memory.start, outputs, inputs, tiles.lowerBound, tiles.upperBound, memory.start)
        }
    }

    /// Some rows of x times some tiles, into the same rows of y.
    func multiply(
        _ x: Rows, _ rows: Range<Int>, tiles: Range<Int>, _ y: Guarded, stride ldy: Int, _ by: Implementation
    ) {
        withExtendedLifetime((self, x, y)) {
            by.packed(format.llk).product(
                x[rows.lowerBound], rows.count, memory.start, outputs, inputs, tiles.lowerBound, tiles.upperBound,
                y.floats + rows.lowerBound * ldy, ldy)
        }
    }

    var bytes: [UInt8] { Array(UnsafeRawBufferPointer(start: memory.start, count: memory.bytes)) }

    /// The stored number of output o, input k, and the scale that goes with it.
    func element(_ o: Int, _ k: Int) -> (q: Int, scale: Float) {
        let (j, i) = (o % 64, k % 64)
        let block = o / 64 * ((inputs + 63) / 64) + k / 64
        func byte(_ offset: Int) -> UInt8 { memory.start.load(fromByteOffset: offset, as: UInt8.self) }
        func half(_ offset: Int) -> UInt16 { memory.start.loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
        func bf16(_ offset: Int) -> Float { Float(bitPattern: UInt32(half(offset)) << 16) }
        func f16(_ offset: Int) -> Float { Float(Float16(bitPattern: half(offset))) }
        switch format {
        case .bf16: return (1, bf16(block * 8192 + ((i / 2) * 64 + j) * 4 + i % 2 * 2))
        case .int8:
            let start = block * 4224
            return (Int(byte(start + ((i / 4) * 64 + j) * 4 + i % 4)) - 128, bf16(start + 4096 + 2 * j))
        case .int4:
            let start = block * 2304 + i / 32 * 1152, n = i % 32
            let pair = byte(start + ((n / 8) * 64 + j) * 4 + n % 4)
            return (Int(n % 8 < 4 ? pair & 15 : pair >> 4) - 8, bf16(start + 1024 + 2 * j))
        case .q8_0:
            let start = block * 4352 + i / 32 * 2176, n = i % 32
            return (Int(byte(start + ((n / 4) * 64 + j) * 4 + n % 4)) - 128, f16(start + 2048 + 2 * j))
        case .q4_0:
            let start = block * 2304 + i / 32 * 1152, n = i % 32
            let pair = byte(start + ((n % 16 / 4) * 64 + j) * 4 + n % 4)
            return (Int(n < 16 ? pair & 15 : pair >> 4) - 8, f16(start + 1024 + 2 * j))
        }
    }

    func weight(_ o: Int, _ k: Int) -> Float {
        let (q, scale) = element(o, k)
        return Float(q) * scale
    }

    /// Row x [inputs] times output o, step by step as packed.h has it.
    func product(_ x: ArraySlice<Float>, _ o: Int) -> Float {
        let x = Array(x)
        var y: Float = 0
        for first in stride(from: 0, to: inputs, by: 64) {
            let block = first..<min(first + 64, inputs)
            if format == .bf16 {
                for pair in stride(from: first, to: block.upperBound, by: 2) {
                    if pair + 1 < inputs { y.addProduct(rounded(x[pair + 1]), weight(o, pair + 1)) }
                    y.addProduct(rounded(x[pair]), weight(o, pair))
                }
                continue
            }
            let largest = block.reduce(Float(0)) { max($0, abs(x[$1])) }
            func dot(_ range: Range<Int>) -> Float {
                Float(
                    range.clamped(to: block).reduce(0) {
                        $0 + Int((x[$1] * (127 / largest)).rounded(.toNearestOrEven)) * element(o, $1).q
                    })
            }
            var t = dot(first..<first + format.run) * element(o, first).scale
            if format.run == 32 && first + 32 < inputs {
                t.addProduct(dot(first + 32..<first + 64), element(o, first + 32).scale)
            }
            y.addProduct(t, largest / 127)
        }
        return y
    }
}

/// To bf16 and back.
func rounded(_ x: Float) -> Float {
    var half: UInt16 = 0
    llk_f32_to_bf16([x], 1, &half)
    return Float(bitPattern: UInt32(half) << 16)
}

/// Rows of x [count, inputs], prepared for one implementation; or moved about.
struct Rows {
    let memory: Guarded
    let size: Int

    init(_ x: [Float], _ count: Int, _ inputs: Int, _ format: Format, _ by: Implementation) {
        size = llk_row_size(format.llk, inputs)
        memory = Guarded(bytes: count * size)
        by.packed(format.llk).prepare(x, inputs, count, inputs, memory.start)
    }

    init(_ rows: Rows, order: [Int]) {
        size = rows.size
        memory = Guarded(bytes: order.count * size)
        withExtendedLifetime(rows) {
            for (to, from) in order.enumerated() { self[to].copyMemory(from: rows[from], byteCount: size) }
        }
    }

    subscript(_ row: Int) -> UnsafeMutableRawPointer { memory.start + row * size }
}

/// x [rows, inputs] times all outputs: [rows, outputs].
func product(_ x: [Float], _ rows: Int, _ w: Packed, _ by: Implementation) -> [Float] {
    let y = Guarded([Float](repeating: 7, count: rows * w.outputs))
    let prepared = Rows(x, rows, w.inputs, w.format, by)
    w.multiply(prepared, 0..<rows, tiles: 0..<tiles(w.outputs), y, stride: w.outputs, by)
    return y.read(rows * w.outputs)
}
