// The kernels over keys and values in int8: every implementation against the portable one, that against double
// precision.
import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Queries, and keys and values in pieces. What must not be used is random, or not there.
private struct Operands {
    let rows: Int, piece: Int, terms: Int, dim: Int
    let queries: [llk_byte_query]
    let pieces: [llk_byte_piece]
    private let memory: [Guarded]

    init(_ g: inout Generator) {
        let (rows, piece, dim) = (g.size(1...19), g.size(1...40), g.size(1...(g.size(0...4) == 0 ? 140 : 40)))
        let terms = g.size(1...120)
        (self.rows, self.piece, self.dim, self.terms) = (rows, piece, dim, terms)
        var memory: [Guarded] = []
        func bytes(_ count: Int) -> UnsafeMutableRawPointer {
            let bytes = Guarded(bytes: count)
            for index in 0..<count {
                bytes.start.storeBytes(of: UInt8(g.size(0...255)), toByteOffset: index, as: UInt8.self)
            }
            memory.append(bytes)
            return bytes.start
        }
        func floats(_ count: Int, _ value: () -> Float) -> UnsafePointer<Float> {
            let floats = Guarded((0..<count).map { _ in value() })
            memory.append(floats)
            return UnsafePointer(floats.floats)
        }
        let quads = (dim + 3) / 4
        queries = (0..<rows).map { _ in
            let q = bytes(4 * quads).assumingMemoryBound(to: Int8.self)
            var sum: Int32 = 0
            let scale = llk_to_bytes((0..<dim).map { _ in Float.random(in: -2...2, using: &g) }, dim, q, &sum)
            for rest in dim..<4 * quads { q[rest] = 0 }
            return llk_byte_query(q: q, factor: scale, offset: -128 * sum)
        }
        pieces = stride(from: 0, to: terms, by: piece).map { _ in
            llk_byte_piece(
                keys: UnsafePointer(bytes(4 * quads * piece).assumingMemoryBound(to: UInt8.self)),
                key_scales: floats(piece) { Float.random(in: 0...0.01, using: &g) },
                values: UnsafePointer(bytes((piece + 3) / 4 * 4 * dim).assumingMemoryBound(to: Int8.self)),
                exponents: floats(piece) { Float(g.size(-40...20)) / 8 })
        }
        self.memory = memory
    }

    func key(_ t: Int, _ i: Int) -> Int {
        Int(pieces[t / piece].keys[(i / 4 * piece + t % piece) * 4 + i % 4]) - 128
    }
    func value(_ t: Int, _ d: Int) -> Int {
        Int(pieces[t / piece].values[(t % piece / 4 * dim + d) * 4 + t % piece % 4])
    }

    func scores(_ by: Implementation, _ index: Int, _ ldo: Int) -> [Float] {
        let count = min(piece, terms - index * piece)
        let out = Guarded([Float](repeating: 7, count: (rows - 1) * ldo + count))
        withExtendedLifetime((memory, out)) {
            by.byteAttention.scores(
                queries, rows, [pieces[index]], piece, dim, count, out.floats, ldo,
                index % 2 == 0 ? pieces[0].keys : nil, 4 * piece)
        }
        return out.read((rows - 1) * ldo + count)
    }

    func sum(_ by: Implementation, _ weights: [UInt8], _ factors: [Float], _ before: [Float]) -> [Float] {
        let out = Guarded(before), e = Guarded(bytes: weights.count)
        for (index, weight) in weights.enumerated() {
            e.start.storeBytes(of: weight, toByteOffset: index, as: UInt8.self)
        }
        withExtendedLifetime((memory, out, e)) {
            by.byteAttention.weighted_sum(
                e.start.assumingMemoryBound(to: UInt8.self), terms, rows, pieces, piece, terms, dim, factors,
                out.floats, dim)
        }
        return out.read(before.count)
    }
}

extension Implementation {
    fileprivate var byteAttention: llk_byte_attention_kernels { llk_get_byte_attention(isa)!.pointee }

    fileprivate func weights(_ x: [Float], _ inverses: [Float]) -> (e: [UInt8], max: Float, sum: Float) {
        let input = Guarded(x), factors = Guarded(inverses), bytes = Guarded(bytes: x.count)
        var (max, sum): (Float, Float) = (0, 0)
        return withExtendedLifetime((input, factors, bytes)) {
            let e = bytes.start.assumingMemoryBound(to: UInt8.self)
            byteAttention.weights(input.floats, factors.floats, x.count, &max, e, &sum)
            return ((0..<x.count).map { e[$0] }, max, sum)
        }
    }
}

struct ByteAttentionTests {
    @Test func everyImplementationHasThem() {
        for implementation in Implementation.all { #expect(llk_get_byte_attention(implementation.isa) != nil) }
        #expect(llk_get_byte_attention(llk_isa(rawValue: 99)) == nil)
    }

    @Test(arguments: Implementation.fast) func theyAreTheSameEverywhere(_ implementation: Implementation) {
        var g = Generator(41)
        for _ in 0..<200 {
            let operands = Operands(&g), ldo = operands.piece + g.size(0...4)
            for index in operands.pieces.indices {
                let found = difference(
                    operands.scores(.portable, index, ldo), operands.scores(implementation, index, ldo))
                #expect(found == nil)
            }
            let weights = (0..<operands.rows * operands.terms).map { _ in UInt8(g.size(0...255)) }
            let factors = (0..<operands.rows).map { _ in Float.random(in: -1...1, using: &g) }
            let before = random(operands.rows * operands.dim, .wild, &g)
            let found = difference(
                operands.sum(.portable, weights, factors, before),
                operands.sum(implementation, weights, factors, before))
            #expect(found == nil)
            let count = g.size(1...300)
            let x = (0..<count).map { _ in Float.random(in: -90...90, using: &g) }
            let inverses = (0..<count).map { _ in exp2(Float(g.size(-40...40)) / 8) }
            let (a, b) = (Implementation.portable.weights(x, inverses), implementation.weights(x, inverses))
            #expect(a.e == b.e && a.max == b.max && a.sum == b.sum)
        }
    }

    @Test(arguments: Implementation.all) func theyAreRight(_ implementation: Implementation) {
        var g = Generator(42)
        for _ in 0..<20 {
            let operands = Operands(&g)
            let (rows, piece, terms, dim) = (operands.rows, operands.piece, operands.terms, operands.dim)
            let scores = operands.scores(implementation, 0, piece)
            for r in 0..<rows {
                for t in 0..<min(piece, terms) {
                    let query = operands.queries[r]
                    let dot = (0..<dim).reduce(0) { $0 + Int(query.q[$1]) * operands.key(t, $1) }
                    let exponent = Double(operands.pieces[0].exponents[t])
                    let product = Double(dot) * Double(operands.pieces[0].key_scales[t]) * Double(query.factor)
                    #expect(
                        abs(Double(scores[r * piece + t]) - product - exponent) <= 0x1p-23
                            * (abs(product) + abs(exponent)))
                }
            }
            let weights = (0..<rows * terms).map { _ in UInt8(g.size(0...255)) }
            let sums = operands.sum(
                implementation, weights, [Float](repeating: 1, count: rows), [Float](repeating: 3, count: rows * dim))
            for r in 0..<rows {
                for d in 0..<dim {
                    let exact = (0..<terms).reduce(3) { $0 + Int(weights[r * terms + $1]) * operands.value($1, d) }
                    #expect(sums[r * dim + d] == Float(exact))  // below 2^24
                }
            }
        }
    }

    @Test(arguments: Implementation.all) func weightsAreRight(_ implementation: Implementation) {
        var g = Generator(43)
        for count in [1, 15, 16, 100, 256] {
            let x = (0..<count).map { _ in Float.random(in: -12...12, using: &g) }
            let inverses = (0..<count).map { _ in exp2(Float(g.size(-40...40)) / 8) }
            let (e, max, sum) = implementation.weights(x, inverses)
            #expect(max == x.max()!)
            let exact = x.map { exp2(Double($0) - Double(max)) }
            for (e, exact) in zip(e, exact) { #expect(abs(Double(e) - 255 * exact) <= 0.5 + 255 * 0x1p-16) }
            let total = zip(exact, inverses).reduce(0) { $0 + $1.0 * Double($1.1) }
            #expect(abs(Double(sum) - total) <= 0x1p-15 * total)
        }
        let (_, _, sum) = implementation.weights([1, .nan, 2], [1, 1, 1])
        #expect(sum.isNaN)
    }

    @Test func numbersBecomeBytes() {
        var g = Generator(44)
        for round in 0..<300 {
            let n = g.size(1...140), size = exp2(Float(g.size(-30...30)))
            let x = (0..<n).map { _ in size * Float.random(in: -1...1, using: &g) }
            var q = [Int8](repeating: 0, count: n), sum: Int32 = 0
            let scale = llk_to_bytes(x, n, &q, &sum), largest = x.map(abs).max()!
            #expect(
                scale == largest / 127 && sum == q.reduce(0) { $0 + Int32($1) } && q.map { abs(Int($0)) }.max() == 127)
            for (x, q) in zip(x, q) { #expect(abs(x / scale - Float(q)) <= 0.5001) }
            let of = llk_values_to_bytes(x, n, &q)
            #expect((8 * of.exponent).rounded() == 8 * of.exponent && of.exponent >= -24, "\(round)")
            #expect(abs(of.inverse * exp2(of.exponent) - 1) < 0x1p-22)
            for (x, q) in zip(x, q) { #expect(abs(x * of.inverse - Float(q)) <= 0.5001) }
            // The scale an eighth below would be too small.
            if of.exponent > -24 {
                #expect(largest * of.inverse * exp2(0.125) > 126.99 && largest * of.inverse < 127.01)
            }
        }
        for special in [Float.infinity, -.infinity, .nan] {
            var q: [Int8] = [1, 1], sum: Int32 = 1
            #expect(llk_to_bytes([special, 1], 2, &q, &sum).isNaN && q == [0, 0] && sum == 0)
            q = [1, 1]
            let scale = llk_values_to_bytes([1, special], 2, &q)
            #expect(scale.exponent.isNaN && scale.inverse.isNaN && q == [0, 0])
        }
        var q: [Int8] = [1, 1], sum: Int32 = 1
        #expect(llk_to_bytes([0, -0.0], 2, &q, &sum) == 0 && q == [0, 0] && sum == 0)
        #expect(llk_values_to_bytes([0, -0.0], 2, &q).exponent == -24 && q == [0, 0])
    }
}
