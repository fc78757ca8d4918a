// The kernels over keys and values in bf16: every implementation against the portable one, that against double
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

/// Queries or weights p [queries, ldp], and v in pieces of [ceil(piece / 2), ldv, 2]. What must not be used is NaN or
/// not there.
private struct Operands {
    let queries: Int, piece: Int, terms: Int, dim: Int, ldp: Int, ldv: Int
    let p: Guarded
    let v: [Guarded]

    init(
        queries: Int, piece: Int = .max, terms: Int, dim: Int, spare: Int = 0, _ g: inout Generator,
        _ value: (inout Generator) -> Float
    ) {
        (self.queries, self.piece, self.terms, self.dim) = (queries, min(piece, max(terms, 1)), terms, dim)
        ldp = terms + g.size(0...4)
        ldv = dim + g.size(0...4)
        p = Guarded(bytes: (queries == 0 ? 0 : 2 * ((queries - 1) * ldp + terms)) + spare)
        let ldv = ldv
        v = stride(from: 0, to: terms, by: self.piece).map { [piece = self.piece] first in
            Guarded(bytes: 4 * (((min(piece, terms - first) + 1) / 2 - 1) * ldv + dim) + spare)
        }
        for memory in [p] + v {
            for offset in stride(from: 0, to: memory.bytes - 1, by: 2) {
                memory.start.storeBytes(of: 0x7fc0, toByteOffset: offset, as: UInt16.self)
            }
        }
        for q in 0..<queries { for t in 0..<terms { store(value(&g), p, q * ldp + t) } }
        for t in 0..<terms { for d in 0..<dim { store(value(&g), v[t / self.piece], place(t, d)) } }
    }

    private func place(_ t: Int, _ d: Int) -> Int { 2 * (t % piece / 2 * ldv + d) + t % piece % 2 }

    private func store(_ value: Float, _ memory: Guarded, _ index: Int) {
        var half: UInt16 = 0
        llk_f32_to_bf16([value], 1, &half)
        memory.start.storeBytes(of: half, toByteOffset: 2 * index, as: UInt16.self)
    }

    private func load(_ memory: Guarded, _ index: Int) -> Float {
        Float(bitPattern: UInt32(memory.start.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
    }

    func weight(_ q: Int, _ t: Int) -> Float { load(p, q * ldp + t) }
    func value(_ t: Int, _ d: Int) -> Float { load(v[t / piece], place(t, d)) }

    /// out [queries, ldo] += p v for some queries and columns, over terms from the beginning of a piece on, or, within
    /// one piece, from an even one on.
    func sum(
        _ by: Implementation, _ out: Guarded, _ ldo: Int, queries: Range<Int>, columns: Range<Int>, terms: Range<Int>,
        accumulate: Bool
    ) {
        withExtendedLifetime((p, v, out)) {
            let within = terms.lowerBound % piece
            let pieces = v[min(terms.lowerBound / piece, v.count)...].map {
                Optional(
                    UnsafePointer<UInt16>(OpaquePointer($0.start + 4 * (within / 2 * ldv + columns.lowerBound))))
            }
            let next = terms.count % 3 == 0 ? v.first : nil
            by.attention.weighted_sum(
                UnsafePointer(OpaquePointer(p.start + 2 * (queries.lowerBound * ldp + terms.lowerBound))), ldp,
                queries.count, pieces, ldv, within > 0 ? terms.count : piece, terms.count, columns.count,
                out.floats + queries.lowerBound * ldo + columns.lowerBound, ldo, accumulate, next?.start,
                next?.bytes ?? 0)
        }
    }

    /// From `before` [queries, ldo], or from nothing.
    func sum(_ by: Implementation, _ before: [Float], _ ldo: Int, accumulate: Bool, spare: Int = 0) -> [Float] {
        let out = Guarded(before, spare: spare)
        sum(by, out, ldo, queries: 0..<queries, columns: 0..<dim, terms: 0..<terms, accumulate: accumulate)
        return out.read(before.count)
    }
}

struct AttentionTests {
    @Test func everyImplementationHasThem() {
        for implementation in Implementation.all { #expect(llk_get_attention(implementation.isa) != nil) }
        #expect(llk_get_attention(llk_isa(rawValue: 99)) == nil)
    }

    @Test(arguments: Implementation.fast)
    func weightedSumIsTheSameEverywhere(_ implementation: Implementation) {
        var g = Generator(31)
        for round in 0..<400 {
            let kind = Kind.allCases[round % 3], spare = g.size(0...3)
            let operands = Operands(
                queries: g.size(0...19), piece: round % 4 == 0 ? .max : g.size(1...33), terms: g.size(0...70),
                dim: g.size(0...(round % 5 == 0 ? 150 : 40)), spare: spare, &g
            ) { kind.value(&$0) }
            let ldo = operands.dim + g.size(0...4), before = random(operands.queries * ldo, kind, &g)
            func run(_ by: Implementation) -> [Float] {
                operands.sum(by, before, ldo, accumulate: round % 2 == 0, spare: spare)
            }
            let found = difference(run(.portable), run(implementation))
            #expect(found == nil, "\(operands.queries) \(operands.terms) \(operands.dim), \(kind)")
        }
    }

    /// Sums and factors around the smallest normal number, which VDPBF16PS flushes.
    @Test(arguments: Implementation.all)
    func denormalsAreFlushed(_ implementation: Implementation) {
        var g = Generator(32)
        for round in 0..<40 {
            let operands = Operands(queries: 9, terms: 30 + round % 2, dim: 37, &g) {
                Float(sign: $0.next() & 1 == 0 ? .plus : .minus, exponent: $0.size(-67 ... -60), significand: 1.5)
            }
            let before = (0..<9 * 37).map { _ in Float(bitPattern: UInt32(g.size(0...0x1ff_ffff))) }
            let found = operands.sum(implementation, before, 37, accumulate: true)
            #expect(difference(operands.sum(.portable, before, 37, accumulate: true), found) == nil)
            #expect(!found.contains { $0.isSubnormal })
        }
    }

    /// Queries and columns in any pieces, terms in pieces of whole pairs.
    @Test(arguments: Implementation.all)
    func splittingChangesNothing(_ implementation: Implementation) {
        var g = Generator(33)
        for _ in 0..<60 {
            let operands = Operands(queries: g.size(1...19), terms: g.size(1...70), dim: g.size(1...90), &g) {
                Kind.wild.value(&$0)
            }
            let (queries, terms, dim) = (operands.queries, operands.terms, operands.dim)
            let whole = operands.sum(
                implementation, [Float](repeating: 7, count: queries * dim), dim, accumulate: false)
            let pieces = Guarded([Float](repeating: 7, count: queries * dim))
            func cuts(_ end: Int, _ step: Int) -> [Range<Int>] {
                var ranges: [Range<Int>] = []
                while (ranges.last?.upperBound ?? 0) < end {
                    let first = ranges.last?.upperBound ?? 0
                    ranges.append(first..<min(end, first + step * g.size(1...20)))
                }
                return ranges
            }
            for q in cuts(queries, 1) {
                for d in cuts(dim, 1) {
                    for t in cuts(terms, 2) {
                        operands.sum(
                            implementation, pieces, dim, queries: q, columns: d, terms: t, accumulate: t.lowerBound > 0)
                    }
                }
            }
            #expect(difference(whole, pieces.read(whole.count)) == nil, "\(queries) \(terms) \(dim)")
        }
    }

    @Test(arguments: Implementation.all)
    func weightedSumIsRight(_ implementation: Implementation) {
        var g = Generator(34)
        for terms in [1, 2, 31, 128, 131] {
            let operands = Operands(queries: 5, terms: terms, dim: 70, &g) { Kind.plain.value(&$0) }
            let out = operands.sum(implementation, [Float](repeating: 7, count: 5 * 70), 70, accumulate: false)
            for q in 0..<5 {
                for d in 0..<70 {
                    let products = (0..<terms).map { Double(operands.weight(q, $0)) * Double(operands.value($0, d)) }
                    let size = products.reduce(0) { $0 + abs($1) }
                    #expect(abs(Double(out[q * 70 + d]) - products.reduce(0, +)) <= Double(terms) * 0x1p-24 * size)
                }
            }
        }
    }

    /// The same terms in pieces, and piece by piece.
    @Test(arguments: Implementation.all)
    func piecesChangeNothing(_ implementation: Implementation) {
        var g = Generator(37)
        for _ in 0..<60 {
            let piece = g.size(1...33)
            let operands = Operands(
                queries: g.size(1...19), piece: piece, terms: g.size(1...90), dim: g.size(1...70), &g
            ) {
                Kind.wild.value(&$0)
            }
            let (queries, terms, dim) = (operands.queries, operands.terms, operands.dim)
            let before = [Float](repeating: 7, count: queries * dim)
            let whole = operands.sum(implementation, before, dim, accumulate: false)
            let pieces = Guarded(before)
            for first in stride(from: 0, to: terms, by: operands.piece) {
                operands.sum(
                    implementation, pieces, dim, queries: 0..<queries, columns: 0..<dim,
                    terms: first..<min(first + operands.piece, terms), accumulate: first > 0)
            }
            #expect(difference(whole, pieces.read(whole.count)) == nil, "\(queries) \(terms) \(dim) \(piece)")
        }
    }

    private func exponentials(
        _ x: [Float], _ scale: Float, over max: Float, _ by: Implementation, spare: Int = 0
    ) -> (e: [Float], max: Float, sum: Float) {
        let input = Guarded(x, spare: spare), halves = Guarded(bytes: 2 * x.count + spare)
        var (max, sum): (Float, Float) = (max, 0)
        withExtendedLifetime((input, halves)) {
            by.attention.exponentials(
                input.floats, x.count, scale, &max, UnsafeMutablePointer(OpaquePointer(halves.start)), &sum)
        }
        let e = x.indices.map {
            Float(bitPattern: UInt32(halves.start.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) << 16)
        }
        return (e, max + 0, sum)  // a zero of either sign
    }

    @Test(arguments: Implementation.fast)
    func exponentialsAreTheSameEverywhere(_ implementation: Implementation) {
        var g = Generator(35)
        for round in 0..<600 {
            let kind = Kind.allCases[round % 3], spare = g.size(0...3)
            let x = random(round < 100 ? round + 1 : g.size(1...600), kind, &g).map { round % 2 == 0 ? $0 : 40 * $0 }
            let before = [-.infinity, -1, 3, 1000][g.size(0...3)] as Float
            let a = exponentials(x, 0.1275, over: before, .portable, spare: spare)
            let b = exponentials(x, 0.1275, over: before, implementation, spare: spare)
            #expect(difference(a.e + [a.max, a.sum], b.e + [b.max, b.sum]) == nil, "\(x.count) elements, \(kind)")
        }
    }

    @Test(arguments: Implementation.all)
    func exponentialsAreRight(_ implementation: Implementation) {
        var g = Generator(36)
        for n in [1, 15, 16, 100, 512] {
            let x = (0..<n).map { _ in Float.random(in: -480...480, using: &g) }
            for before in [-.infinity, 7, 90] as [Float] {
                let (e, max, sum) = exponentials(x, 0.125, over: before, implementation)
                #expect(max == Swift.max(before, x.max()! * 0.125))
                let exact = x.map { exp2(Double($0) * 0.125 - Double(max)) }
                for (e, exact) in zip(e, exact) {
                    // As bf16: half of 2^-7; before: the polynomial, and what an argument of at most 150 is off.
                    #expect(abs(Double(e) - exact) <= (0x1p-8 + 0x1p-16) * exact + 0x1p-126)
                }
                let total = exact.reduce(0, +)
                #expect(abs(Double(sum) - total) <= 0x1p-16 * total + 600 * 0x1p-126)
            }
        }
    }

    @Test func powersOfTwo() {
        #expect(llk_exp2f(0) == 1)
        for n in 0...126 { #expect(llk_exp2f(Float(-n)) == Float(sign: .plus, exponent: -n, significand: 1)) }
        #expect(llk_exp2f((-126 as Float).nextDown) == 0)
        #expect(llk_exp2f(-.infinity) == 0)
        #expect(llk_exp2f(.nan).isNaN)
        var worst = 0.0
        for index in 0...1_000_000 {
            let x = Float(index) * -126 / 1_000_000, exact = exp2(Double(x))
            worst = max(worst, abs(Double(llk_exp2f(x)) - exact) / exact)
        }
        #expect(worst < 0x1p-16)
    }
}
