// Packed weights that hold the blocks of GGUF files: exactly what is there, and products of it.
import Kernels
import Testing

struct BlockTests {
    /// Every number and every scale is the file's, bit by bit; what is missing is zero; tiles may be packed one by one.
    @Test(arguments: Format.ofBlocks, Kind.allCases)
    func packingIsExact(_ format: Format, _ kind: Kind) {
        var g = Generator(31)
        for (outputs, inputs) in [(1, 32), (64, 64), (65, 96), (3, 224), (130, 160), (7, 0)] {
            let blocks = Blocks(outputs, inputs, format, kind, spare: outputs % 3, &g)
            let packed = Packed(blocks)
            for o in 0..<tiles(outputs) * 64 {
                for k in 0..<(inputs + 63) / 64 * 64 {
                    let (q, scale) = packed.element(o, k)
                    let isThere = o < outputs && k < inputs
                    let expected = isThere ? blocks.element(o, k) : (q: 0, scale: 0)
                    let isSame =
                        scale.bitPattern == Float(expected.scale).bitPattern
                        || (scale.isNaN && expected.scale.isNaN)
                    if q != expected.q || !isSame {
                        Issue.record("\(format) [\(o), \(k)]: \(q) * \(scale), not \(expected)")
                    }
                }
            }
            let pieces = Packed(outputs, inputs, format)
            for tile in (0..<tiles(outputs)).reversed() { pieces.fill(blocks, tiles: tile..<tile + 1) }
            #expect(pieces.bytes == packed.bytes)
        }
    }

    /// Products with integers that need no rounding, against sums in double precision of the numbers that the blocks
    /// stand for.
    @Test(arguments: Implementation.all, Format.ofBlocks)
    func productIsRight(_ implementation: Implementation, _ format: Format) {
        var g = Generator(32)
        for (rows, inputs, outputs) in [(1, 32, 1), (3, 96, 70), (6, 2048, 9)] {
            let blocks = Blocks(outputs, inputs, format, .plain, spare: 0, &g)
            // The largest magnitude of 64 is 127 times a power of two, so all of them are kept exactly.
            let x = (0..<rows * inputs).map {
                let exponent = $0 % inputs / 64 % 5 - 2
                let q = $0 % inputs % 64 == 5 ? 127 : g.size(-127...127)
                return Float(sign: .plus, exponent: exponent, significand: Float(q))
            }
            let y = product(x, rows, Packed(blocks), implementation)
            for r in 0..<rows {
                for o in 0..<outputs {
                    var sum = 0.0, size = 0.0
                    for k in 0..<inputs {
                        let (q, scale) = blocks.element(o, k)
                        let term = Double(x[r * inputs + k]) * Double(q) * Double(scale)
                        sum += term
                        size += abs(term)
                    }
                    // Two roundings in a block, and one for each block in the sum.
                    #expect(abs(Double(y[r * outputs + o]) - sum) <= Double(inputs / 64 + 3) * 0x1p-24 * size)
                }
            }
        }
    }

    /// The largest integers of either sign: no sum of theirs is cut off.
    @Test(arguments: Implementation.all, Format.ofBlocks)
    func nothingSaturates(_ implementation: Implementation, _ format: Format) {
        let ends = format == .q8_0 ? [-128, 127] : [-8, 7]
        for (index, q) in ends.enumerated() {
            for sign in [Float(1), -1] {
                let blocks = Blocks(3, 64, format) { _ in
                    1
                } number: { _, _ in
                    q
                }
                let y = product([Float](repeating: sign * 127, count: 64), 1, Packed(blocks), implementation)
                #expect(y == [Float](repeating: sign * 127 * 64 * Float(q), count: 3))
            }
            // One of each pair and quad apart: 16-bit sums would overflow.
            let mixed = Blocks(1, 64, format) { _ in
                1
            } number: { _, k in
                k % 2 == 0 ? q : ends[1 - index]
            }
            let x = (0..<64).map { Float($0 % 2 == 0 ? 127 : -127) }
            #expect(product(x, 1, Packed(mixed), implementation) == [Float(127 * 32 * (q - ends[1 - index]))])
        }
    }

    /// Scales at the ends of f16, and what is beyond: subnormal, infinite, NaN. A scale that is no number spoils its
    /// output and no other.
    @Test(arguments: Implementation.all, Format.ofBlocks)
    func scalesOfEveryKind(_ implementation: Implementation, _ format: Format) {
        let scales: [Float16] = [
            .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .leastNormalMagnitude.nextDown, .leastNormalMagnitude,
            .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 0, -0.0, .infinity, -.infinity, .nan,
            Float16(bitPattern: 0x7c01), 1,
        ]
        // Two blocks a row: the second has the scale 0.
        let blocks = Blocks(scales.count, 64, format) {
            $0 % 2 == 0 ? scales[$0 / 2] : 0
        } number: {
            $1 == 0 ? -3 : 0
        }
        let x = [Float(127)] + [Float](repeating: 0, count: 63)
        let y = product(x, 1, Packed(blocks), implementation)
        for (scale, y) in zip(scales, y) {
            if scale.isFinite {
                #expect(y == -3 * 127 * Float(scale))
            } else {
                #expect(scale.isNaN ? y.isNaN : y == -Float(scale), "\(scale)")
            }
        }
    }

    /// What is prepared for one of the formats of integers is prepared for all of them.
    @Test(arguments: Implementation.all)
    func preparedRowsFitAllIntegers(_ implementation: Implementation) {
        var g = Generator(33)
        let x = random(3 * 100, .wild, &g)
        func prepared(_ format: Format) -> [UInt8] {
            let rows = Rows(x, 3, 100, format, implementation)
            return Array(UnsafeRawBufferPointer(start: rows.memory.start, count: rows.memory.bytes))
        }
        for format in Format.ofBlocks + [.int4] { #expect(prepared(format) == prepared(.int8)) }
    }
}
