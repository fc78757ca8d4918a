// Every implementation against the portable one, bit for bit; and any way of splitting the work against the whole.
import Kernels
import Testing

struct BitEqualityTests {
    @Test func theBestImplementationIsThere() {
        #expect(llk_get(LLK_PORTABLE) != nil)
        #expect(llk_get(llk_best_isa()) != nil)
        #expect(Implementation.all.last!.isa == llk_best_isa())
        #expect(llk_get(llk_isa(rawValue: 99)) == nil)
    }

    @Test func everyImplementationHasItsName() {
        let all = [LLK_PORTABLE, LLK_AVX2, LLK_AVXVNNI, LLK_AVX512, LLK_NEON, LLK_I8MM]
        let names = all.map { String(cString: llk_isa_name($0)) }
        #expect(names == ["portable", "avx2", "avxvnni", "avx512", "neon", "i8mm"])
    }

    @Test(arguments: Implementation.fast)
    func matmul(_ implementation: Implementation) {
        var g = Generator(1)
        for round in 0..<900 {
            let dtype = dtypes[round % 3], kind = Kind.allCases[round / 3 % 3]
            let rows = g.size(0...37), inner = g.size(0...300), outs = g.size(0...(round % 10 == 0 ? 140 : 23))
            let first = g.size(0...outs), last = g.size(first...outs)
            let ldx = inner + g.size(0...5), ldy = outs + g.size(0...5)
            // What lies between the rows is NaN: it would show if it were used.
            var x = [Float](repeating: .nan, count: rows == 0 ? 0 : (rows - 1) * ldx + inner)
            for r in 0..<rows { for k in 0..<inner { x[r * ldx + k] = kind.value(&g) } }
            let xs = Guarded(x, spare: g.size(0...3))
            let w = Weights(outs * inner, dtype, kind, spare: g.size(0...3), &g)
            func run(_ k: llk_kernels) -> [Float] {
                let y = Guarded([Float](repeating: 7, count: rows * ldy), spare: round % 4)
                k.matmul(xs.floats, ldx, rows, w.memory.start, dtype, inner, first, last, y.floats, ldy)
                return y.read(rows * ldy)
            }
            let found = difference(run(Implementation.portable.k), run(implementation.k))
            #expect(found == nil, "\(rows)x\(inner)x\(first)..<\(last) of \(outs), dtype \(dtype.rawValue), \(kind)")
        }
    }

    /// More rows and outputs than one panel holds, and inner sizes of real models.
    @Test(arguments: Implementation.fast)
    func matmulAcrossPanels(_ implementation: Implementation) {
        var g = Generator(2)
        for (rows, inner, outs) in [(70, 64, 150), (33, 2048, 9), (5, 513, 200), (65, 16, 65)] {
            for dtype in dtypes {
                let x = random(rows * inner, .plain, &g)
                let w = Weights(outs * inner, dtype, .plain, spare: 1, &g)
                func run(_ k: llk_kernels) -> [Float] {
                    var y = [Float](repeating: 7, count: rows * outs)
                    k.matmul(x, inner, rows, w.memory.start, dtype, inner, 0, outs, &y, outs)
                    return y
                }
                #expect(difference(run(Implementation.portable.k), run(implementation.k)) == nil)
            }
        }
    }

    @Test(arguments: Implementation.all)
    func splittingMatmulChangesNothing(_ implementation: Implementation) {
        var g = Generator(3)
        for round in 0..<60 {
            let dtype = dtypes[round % 3]
            let rows = g.size(1...37), inner = g.size(0...300), outs = g.size(1...90)
            let x = random(rows * inner, .wild, &g)
            let w = Weights(outs * inner, dtype, .wild, spare: 0, &g)
            let matmul = implementation.k.matmul!
            var whole = [Float](repeating: 7, count: rows * outs), pieces = whole
            matmul(x, inner, rows, w.memory.start, dtype, inner, 0, outs, &whole, outs)
            var r = 0
            while r < rows {
                let n = g.size(1...rows - r)
                var o = 0
                while o < outs {
                    let next = g.size(o + 1...outs)
                    x.withUnsafeBufferPointer { x in
                        pieces.withUnsafeMutableBufferPointer { y in
                            matmul(
                                x.baseAddress! + r * inner, inner, n, w.memory.start, dtype, inner, o, next,
                                y.baseAddress! + r * outs, outs)
                        }
                    }
                    o = next
                }
                r += n
            }
            #expect(difference(whole, pieces) == nil, "\(rows)x\(inner)x\(outs)")
        }
    }

    /// Sixteen lanes that all underflowed to -0: the absent ones of the tail must not make them +0.
    @Test(arguments: Implementation.all)
    func minusZeroSurvives(_ implementation: Implementation) {
        for inner in [16, 17, 31, 32] {
            let x = [Float](repeating: 1e-30, count: inner), w = [Float](repeating: -1e-30, count: inner)
            var y: [Float] = [7]
            implementation.k.matmul(x, inner, 1, w, LLK_F32, inner, 0, 1, &y, 1)
            #expect(y[0].bitPattern == 0x8000_0000, "inner \(inner)")
        }
    }

    @Test(arguments: Implementation.all)
    func weightedSum(_ implementation: Implementation) {
        var g = Generator(4)
        for round in 0..<300 {
            let kind = Kind.allCases[round % 3], spare = g.size(0...3)
            let queries = g.size(0...11), keys = g.size(0...150), dim = g.size(0...150)
            let ldp = keys + g.size(0...4), ldv = dim + g.size(0...4), ldo = dim + g.size(0...4)
            var p = [Float](repeating: .nan, count: queries == 0 ? 0 : (queries - 1) * ldp + keys)
            for q in 0..<queries { for t in 0..<keys { p[q * ldp + t] = kind.value(&g) } }
            var v = [Float](repeating: .nan, count: keys == 0 ? 0 : (keys - 1) * ldv + dim)
            for t in 0..<keys { for d in 0..<dim { v[t * ldv + d] = kind.value(&g) } }
            let ps = Guarded(p, spare: spare), vs = Guarded(v, spare: spare)
            let before = random(queries * ldo, kind, &g), accumulate = round % 2 == 0
            func run(_ k: llk_kernels, split: Int?) -> [Float] {
                let out = Guarded(before, spare: spare)
                var t = 0, onward = accumulate
                repeat {
                    let n = split == nil ? keys : min(split!, keys - t)
                    k.weighted_sum(
                        ps.floats + t, ldp, queries, vs.floats + t * ldv, ldv, n, dim, out.floats, ldo, onward)
                    t += n
                    onward = true
                } while t < keys
                return out.read(before.count)
            }
            let expected = run(Implementation.portable.k, split: nil)
            #expect(difference(expected, run(implementation.k, split: nil)) == nil, "\(queries) \(keys) \(dim)")
            #expect(difference(expected, run(implementation.k, split: g.size(1...70))) == nil, "in pieces")
        }
    }

    /// The kernels that work on one or two vectors.
    @Test(arguments: Implementation.fast)
    func vectors(_ implementation: Implementation) {
        var g = Generator(5)
        for round in 0..<600 {
            let kind = Kind.allCases[round % 3], n = round < 100 ? round : g.size(0...300), spare = g.size(0...3)
            let a = random(n, kind, &g), b = random(n, kind, &g), factor = kind.value(&g)
            func compare(_ what: String, _ run: (llk_kernels, Guarded, Guarded) -> Void) {
                func result(_ k: llk_kernels) -> [Float] {
                    let x = Guarded(a, spare: spare), y = Guarded(b, spare: spare)
                    run(k, x, y)
                    return x.read(n) + y.read(n)
                }
                let found = difference(result(Implementation.portable.k), result(implementation.k))
                #expect(found == nil, "\(what), \(n) elements, \(kind)")
            }
            let out = Guarded(a, spare: spare)
            compare("rms_norm") { $0.rms_norm($1.floats, $2.floats, n, 1e-6, $1.floats) }
            compare("rms_norm aside") { k, x, y in
                k.rms_norm(x.floats, y.floats, n, 1e-6, out.floats)
                y.start.copyMemory(from: out.start, byteCount: 4 * n)
            }
            compare("silu_mul") { $0.silu_mul($1.floats, $2.floats, n) }
            compare("sigmoid") { k, x, _ in k.sigmoid(x.floats, n) }
            compare("axpy") { $0.axpy(factor, $1.floats, n, $2.floats) }
            if n > 0 {
                compare("softmax") { k, x, y in
                    var (largest, sum): (Float, Float) = (0, 0)
                    k.softmax(x.floats, n, round % 5 == 0 ? factor : 0.0883883, &largest, &sum)
                    y.start.storeBytes(of: round % 2 == 0 ? largest + 0 : sum, as: Float.self)  // zero: of either sign
                }
                compare("argmax_sum_exp") { k, x, y in
                    let best = k.argmax_sum_exp(x.floats, n, y.floats)
                    x.start.storeBytes(of: UInt32(best), as: UInt32.self)
                }
            }
        }
    }

    /// exp on a dense sweep of its range: through softmax (the negative side) and silu (the positive one).
    @Test(arguments: Implementation.fast)
    func exponential(_ implementation: Implementation) {
        var g = Generator(6)
        for _ in 0..<50 {
            let x = [0] + (0..<4000).map { _ in Float.random(in: -110...0, using: &g) }
            let up = [Float](repeating: 1.25, count: x.count)
            var a = x, b = x
            var (largest, sum): (Float, Float) = (0, 0)
            Implementation.portable.k.softmax(&a, a.count, 1, &largest, &sum)
            implementation.k.softmax(&b, b.count, 1, &largest, &sum)
            #expect(difference(a, b) == nil)
            (a, b) = (x, x)
            Implementation.portable.k.silu_mul(&a, up, a.count)
            implementation.k.silu_mul(&b, up, b.count)
            #expect(difference(a, b) == nil)
        }
    }

    /// The kernels of sampling, whose results are integers and order.
    @Test(arguments: Implementation.fast)
    func sampling(_ implementation: Implementation) {
        var g = Generator(7)
        for round in 0..<400 {
            let kind = Kind.allCases[round % 3], n = round < 80 ? round : g.size(0...700), spare = g.size(0...3)
            var x = random(n, kind, &g)
            for i in x.indices where round % 4 == 3 && i % 7 == 0 { x[i] = -.infinity }
            let temperature = ([1, 0.7, 3, 1e-38, 1e38] as [Float])[round % 5]
            func temper(_ k: llk_kernels) -> (Bool, [Float], Float, Float) {
                let memory = Guarded(x, spare: spare)
                var (least, most): (Float, Float) = (7, 7)
                let isSound = k.temper(memory.floats, n, temperature, memory.floats, &least, &most)
                return (isSound, memory.read(n), least + 0, most + 0)  // zeros are of either sign
            }
            let (expected, found) = (temper(Implementation.portable.k), temper(implementation.k))
            #expect(expected.0 == found.0 && expected.0 == !x.contains { $0.isNaN || $0 == .infinity })
            guard expected.0 else { continue }
            #expect(difference(expected.1, found.1) == nil && expected.2 == found.2 && expected.3 == found.3)
            #expect(found.2 == found.1.min() ?? .infinity && found.3 == found.1.max() ?? -.infinity)
            let (z, most) = (Guarded(found.1, spare: spare), found.3)
            guard most > -.infinity else { continue }
            let floor = n > 0 && round % 2 == 0 ? found.1[n / 2] : -.infinity
            func weigh(_ k: llk_kernels) -> [UInt64] {
                var weights = [UInt64](repeating: 7, count: n + 1)
                weights[n] = k.weigh(z.floats, n, most, floor, &weights)
                return weights
            }
            #expect(weigh(Implementation.portable.k) == weigh(implementation.k))
            #expect(weigh(implementation.k)[..<n].reduce(0, &+) == weigh(implementation.k)[n])
            for (density, begin, end) in [(1, 0, 2), (10, 3, 4), (0.5, 1, .nan), (3e38, 0, 1)]
                as [(Float, Float, Float)]
            {
                func find(_ k: llk_kernels) -> [Int32] {
                    var indices = [Int32](repeating: -1, count: n)
                    return Array(indices[..<k.find(z.floats, n, most, density, begin, end, &indices)])
                }
                #expect(find(Implementation.portable.k) == find(implementation.k))
            }
        }
    }

    @Test(arguments: Implementation.all)
    func wideningOfAllHalves(_ implementation: Implementation) {
        let halves = (0...UInt16.max).map { $0 }
        for skip in [0, 5] {  // so that tails of each implementation see some, too
            let n = halves.count - skip
            var f16 = [Float](repeating: 7, count: n), bf16 = f16
            halves.withUnsafeBufferPointer {
                implementation.k.to_f32($0.baseAddress! + skip, LLK_F16, n, &f16)
                implementation.k.to_f32($0.baseAddress! + skip, LLK_BF16, n, &bf16)
            }
            for i in 0..<n {
                let h = halves[i + skip], exact = Float(Float16(bitPattern: h))
                let quiet: UInt32 = exact.isNaN ? 0x40_0000 : 0
                guard f16[i].bitPattern == exact.bitPattern | quiet, bf16[i].bitPattern == UInt32(h) << 16 else {
                    Issue.record("\(h): \(f16[i]), \(bf16[i])")
                    return
                }
            }
        }
        var g = Generator(7)
        for n in [0, 1, 15, 16, 17, 33] {
            for dtype in dtypes {
                let w = Weights(n, dtype, .wild, spare: 1, &g)
                let out = Guarded([Float](repeating: 7, count: n), spare: 1)
                implementation.k.to_f32(w.memory.start, dtype, n, out.floats)
                #expect(difference(out.read(n), w.values) == nil)
            }
        }
    }
}
