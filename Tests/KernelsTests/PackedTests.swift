// Packed weights: the formats, the products.
import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

struct PackedTests {
    /// What is stored stands for what was given, as nearly as the format allows.
    @Test(arguments: Format.ofNumbers)
    func packing(_ format: Format) {
        var g = Generator(21)
        for (outputs, inputs) in [(1, 1), (64, 64), (65, 33), (3, 200), (130, 96)] {
            let w = Weights(outputs * inputs, LLK_F32, .plain, spare: 0, &g)
            let packed = Packed(w.memory, LLK_F32, outputs, inputs, format, .portable)
            for o in 0..<outputs {
                for k in 0..<inputs {
                    let value = w.values[o * inputs + k]
                    if format == .bf16 {
                        #expect(packed.weight(o, k) == rounded(value))
                        continue
                    }
                    let first = k / format.run * format.run
                    let largest = (first..<min(first + format.run, inputs)).map { abs(w.values[o * inputs + $0]) }
                        .max()!
                    let (q, scale) = packed.element(o, k)
                    #expect(abs(scale) <= largest / (format == .int8 ? 127 : 7) * 1.008)
                    #expect(format == .int8 ? abs(q) <= 127 : (-8...7).contains(q))
                    // Half a step; more only where int4 cuts off what lies beyond its range.
                    let clipped = format == .int4 && (q == -8 || q == 7)
                    #expect(abs(value - Float(q) * scale) <= abs(scale) * (clipped ? 1.6 : 0.5001))
                }
            }
        }
    }

    /// The same bytes from all implementations, from all types that can hold the weights, and tile by tile.
    @Test(arguments: Implementation.all)
    func packingIsTheSameEverywhere(_ implementation: Implementation) {
        var g = Generator(22)
        for round in 0..<60 {
            let format = Format.ofNumbers[round % 3], dtype = dtypes[round / 3 % 3], kind = Kind.allCases[round / 9 % 3]
            let outputs = g.size(1...140), inputs = g.size(1...200)
            let w = Weights(outputs * inputs, dtype, kind, spare: round % 4, &g)
            let expected = Packed(w.memory, dtype, outputs, inputs, format, .portable)
            #expect(Packed(w.memory, dtype, outputs, inputs, format, implementation).bytes == expected.bytes)
            let wide = Guarded(w.values)
            let pieces = Packed(outputs, inputs, format)
            for tile in (0..<tiles(outputs)).reversed() {
                pieces.fill(wide, LLK_F32, tiles: tile..<tile + 1, implementation)
            }
            #expect(pieces.bytes == expected.bytes, "\(format), \(kind)")
        }
    }

    /// Every product is the sequence of operations that packed.h describes.
    @Test(arguments: Implementation.all)
    func productIsAsDefined(_ implementation: Implementation) {
        var g = Generator(23)
        for (rows, size, outputs) in [(1, 1, 1), (3, 64, 70), (5, 200, 9), (7, 33, 65), (2, 512, 3)] {
            for format in Format.allCases {
                let inputs = format.inputs(size...size, &g)
                let packed = Packed(outputs, inputs, format, .plain, &g, implementation)
                let x = random(rows * inputs, .plain, &g)
                let y = product(x, rows, packed, implementation)
                let expected = (0..<rows * outputs).map {
                    let row = $0 / outputs
                    return packed.product(x[row * inputs..<(row + 1) * inputs], $0 % outputs)
                }
                #expect(difference(expected, y) == nil, "\(format) \(rows)x\(inputs)x\(outputs)")
            }
        }
    }

    @Test(arguments: Implementation.fast)
    func productIsTheSameEverywhere(_ implementation: Implementation) {
        var g = Generator(24)
        for round in 0..<300 {
            let format = Format.allCases[round % 5], kind = Kind.allCases[round / 5 % 3]
            let rows = g.size(1...(round % 16 == 0 ? 70 : 12)), outputs = g.size(1...140)
            let inputs = format.inputs(0...300, &g)
            let packed = Packed(outputs, inputs, format, round % 4 == 0 ? kind : .plain, &g, .portable)
            let x = random(rows * inputs, kind, &g)
            let found = difference(product(x, rows, packed, .portable), product(x, rows, packed, implementation))
            #expect(found == nil, "\(format) \(rows)x\(inputs)x\(outputs), \(kind)")
        }
    }

    /// Sums and factors around the smallest normal number, which VDPBF16PS flushes.
    @Test(arguments: Implementation.fast)
    func denormalsAreFlushedEverywhere(_ implementation: Implementation) {
        var g = Generator(25)
        func tiny() -> Float {
            Float(sign: g.next() & 1 == 0 ? .plus : .minus, exponent: g.size(-67 ... -60), significand: 1.5)
        }
        for _ in 0..<20 {
            let w = Guarded((0..<64 * 64).map { _ in tiny() })
            let packed = Packed(w, LLK_F32, 64, 64, .bf16, implementation)
            let x = (0..<9 * 64).map { _ in tiny() }
            let y = product(x, 9, packed, implementation)
            #expect(difference(product(x, 9, packed, .portable), y) == nil)
            #expect(!y.contains { $0.isSubnormal })
        }
    }

    /// Rows in any company and order, tiles by any hand.
    @Test(arguments: Implementation.all)
    func splittingChangesNothing(_ implementation: Implementation) {
        var g = Generator(26)
        for round in 0..<50 {
            let format = Format.allCases[round % 5]
            let rows = g.size(1...70), outputs = g.size(1...300), inputs = format.inputs(1...200, &g)
            let packed = Packed(outputs, inputs, format, .plain, &g, implementation)
            let x = random(rows * inputs, .wild, &g)
            let whole = product(x, rows, packed, implementation)
            let order = (0..<rows).shuffled(using: &g)
            let moved = Rows(Rows(x, rows, inputs, format, implementation), order: order)
            let ldy = outputs + 3, y = Guarded([Float](repeating: 7, count: rows * ldy))
            var row = 0
            while row < rows {
                let nextRow = g.size(row + 1...rows)
                var tile = 0
                while tile < tiles(outputs) {
                    let next = g.size(tile + 1...tiles(outputs))
                    packed.multiply(moved, row..<nextRow, tiles: tile..<next, y, stride: ldy, implementation)
                    tile = next
                }
                row = nextRow
            }
            let pieces = y.read(rows * ldy)
            for (to, from) in order.enumerated() {
                let found = difference(
                    Array(whole[from * outputs..<(from + 1) * outputs]), Array(pieces[to * ldy..<to * ldy + outputs]))
                #expect(found == nil, "\(format) \(rows)x\(inputs)x\(outputs)")
                #expect(pieces[to * ldy + outputs..<(to + 1) * ldy].allSatisfy { $0 == 7 })
            }
        }
    }

    /// How far products are from those of the numbers before they were packed, relative to their size.
    @Test(arguments: Format.ofNumbers)
    func error(_ format: Format) {
        var g = Generator(27)
        let (rows, inputs, outputs) = (16, 2048, 128)
        func normal() -> Float {
            let (a, b) = (Double.random(in: 1e-12...1, using: &g), Double.random(in: 0...1, using: &g))
            return Float((-2 * log(a)).squareRoot() * cos(2 * .pi * b))
        }
        let best = Implementation(isa: llk_best_isa())
        let w = (0..<outputs * inputs).map { _ in 0.02 * normal() }
        let packed = Packed(Guarded(w), LLK_F32, outputs, inputs, format, best)
        let x = (0..<rows * inputs).map { _ in normal() }
        let y = product(x, rows, packed, best)
        var square = 0.0, lost = 0.0
        for r in 0..<rows {
            for o in 0..<outputs {
                let exact = (0..<inputs).reduce(0.0) {
                    $0 + Double(x[r * inputs + $1]) * Double(w[o * inputs + $1])
                }
                square += exact * exact
                lost += (Double(y[r * outputs + o]) - exact) * (Double(y[r * outputs + o]) - exact)
            }
        }
        let error = (lost / square).squareRoot()
        print("\(format): products of normally distributed numbers are \(error) off")
        #expect(error < [.bf16: 0.003, .int8: 0.01, .int4: 0.086][format]!)
    }

    /// An infinite or NaN weight spoils its output, a row its products, and nothing else. What is tiny counts as 0.
    @Test(arguments: Implementation.all)
    func specialValues(_ implementation: Implementation) {
        for format in Format.ofNumbers {
            for bad in [Float.nan, .infinity, -.infinity] {
                var w = [Float](repeating: 1, count: 3 * 70), x = [Float](repeating: 1, count: 2 * 70)
                w[70 + 5] = bad
                let packed = Packed(Guarded(w), LLK_F32, 3, 70, format, implementation)
                func spoilt() -> [Bool] { product(x, 2, packed, implementation).map { !$0.isFinite } }
                #expect(spoilt() == [false, true, false, false, true, false])
                x[3] = bad
                #expect(spoilt() == [true, true, true, false, true, false])
            }
            let tiny = Guarded([Float](repeating: 1e-31, count: 64))
            let packed = Packed(tiny, LLK_F32, 1, 64, format, implementation)
            let y = product([Float](repeating: 1e31, count: 64), 1, packed, implementation)[0]
            #expect(format == .bf16 ? abs(y - 64) < 1 : y == 0)
        }
    }

    @Test func formatsThatAreNotThere() {
        #expect(llk_get_packed(LLK_PORTABLE, llk_format(rawValue: 99)) == nil)
        #expect(llk_get_packed(llk_isa(rawValue: 99), LLK_PACKED_INT8) == nil)
        #expect(llk_packed_size(LLK_PACKED_INT4, 0, 64) == 0)
    }
}
