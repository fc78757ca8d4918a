// Whether the numbers are right at all: the kernels against sums in double precision, OpenBLAS, and the definitions.
import Kernels
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// 2^-24: the largest relative error of one rounding.
private let unit = 0x1p-24

struct JudgeTests {
    @Test(arguments: Implementation.all)
    func matmul(_ implementation: Implementation) {
        var g = Generator(11)
        for (rows, inner, outs) in [(1, 1, 1), (3, 64, 17), (7, 300, 5), (2, 2048, 6), (6, 33, 40)] {
            for dtype in dtypes {
                let x = random(rows * inner, .plain, &g)
                let w = Weights(outs * inner, dtype, .plain, spare: 0, &g)
                var y = [Float](repeating: 7, count: rows * outs)
                implementation.k.matmul(x, inner, rows, w.memory.start, dtype, inner, 0, outs, &y, outs)
                for r in 0..<rows {
                    for o in 0..<outs {
                        var sum = 0.0, size = 0.0
                        for k in 0..<inner {
                            let product = Double(x[r * inner + k]) * Double(w.values[o * inner + k])
                            sum += product
                            size += abs(product)
                        }
                        // inner / 16 roundings in a lane, four in the tree.
                        #expect(abs(Double(y[r * outs + o]) - sum) <= Double(inner / 16 + 6) * unit * size)
                    }
                }
            }
        }
    }

    /// Where OpenBLAS is installed it must agree as well; elsewhere the sums above suffice.
    @Test(.enabled(if: openBLAS != nil, "OpenBLAS is not installed"), arguments: Implementation.all)
    func matmulAgreesWithOpenBLAS(_ implementation: Implementation) {
        var g = Generator(12)
        let rows = 33, inner = 777, outs = 65
        let x = random(rows * inner, .plain, &g)
        let w = random(outs * inner, .plain, &g)
        var ours = [Float](repeating: 7, count: rows * outs), theirs = ours
        implementation.k.matmul(x, inner, rows, w, LLK_F32, inner, 0, outs, &ours, outs)
        openBLAS!(
            101, 111, 112, Int32(rows), Int32(outs), Int32(inner), 1, x, Int32(inner), w, Int32(inner), 0, &theirs,
            Int32(outs))
        for i in ours.indices { #expect(abs(ours[i] - theirs[i]) < 1e-4) }
    }

    @Test(arguments: Implementation.all)
    func weightedSum(_ implementation: Implementation) {
        var g = Generator(13)
        let (queries, keys, dim) = (5, 131, 70)
        let p = random(queries * keys, .plain, &g), v = random(keys * dim, .plain, &g)
        var out = [Float](repeating: 7, count: queries * dim)
        implementation.k.weighted_sum(p, keys, queries, v, dim, keys, dim, &out, dim, false)
        for q in 0..<queries {
            for d in 0..<dim {
                let sum = (0..<keys).reduce(0.0) { $0 + Double(p[q * keys + $1]) * Double(v[$1 * dim + d]) }
                #expect(abs(Double(out[q * dim + d]) - sum) <= Double(keys * keys) * unit)
            }
        }
    }

    @Test(arguments: Implementation.all)
    func rmsNorm(_ implementation: Implementation) {
        var g = Generator(14)
        let x = random(777, .plain, &g), weight = random(777, .plain, &g)
        var y = x
        implementation.k.rms_norm(x, weight, x.count, 1e-5, &y)
        let mean = x.reduce(0.0) { $0 + Double($1) * Double($1) } / 777
        for i in x.indices {
            let exact = Double(x[i]) / (mean + Double(Float(1e-5))).squareRoot() * Double(weight[i])
            #expect(abs(Double(y[i]) - exact) <= 40 * unit * abs(exact))
        }
    }

    @Test(arguments: Implementation.all)
    func siluMul(_ implementation: Implementation) {
        var g = Generator(15)
        let z = (0..<999).map { _ in Float.random(in: -30...30, using: &g) }, up = random(999, .plain, &g)
        var gate = z
        implementation.k.silu_mul(&gate, up, gate.count)
        for i in z.indices {
            let exact = Double(z[i]) / (1 + exp(-Double(z[i]))) * Double(up[i])
            #expect(abs(Double(gate[i]) - exact) <= 8 * unit * abs(exact))
        }
        var ends: [Float] = [-100, 100, 0, -0.0, .infinity, -.infinity, .nan]
        implementation.k.silu_mul(&ends, [Float](repeating: 1, count: 7), 7)
        #expect(ends[0] == 0 && ends[0].sign == .minus && ends[1] == 100 && ends[2] == 0 && ends[4] == .infinity)
        #expect(ends[5].isNaN && ends[6].isNaN)
    }

    @Test(arguments: Implementation.all)
    func sigmoid(_ implementation: Implementation) {
        var g = Generator(17)
        let x = (0..<999).map { _ in Float.random(in: -60...60, using: &g) }
        var y = x
        implementation.k.sigmoid(&y, y.count)
        for i in x.indices {
            let exact = 1 / (1 + exp(-Double(x[i])))
            #expect(abs(Double(y[i]) - exact) <= 4 * unit * exact)
        }
        var ends: [Float] = [-100, 100, 0, .infinity, -.infinity, .nan]
        implementation.k.sigmoid(&ends, ends.count)
        #expect(ends[..<5] == [0, 1, 0.5, 1, 0] && ends[5].isNaN)
    }

    @Test(arguments: Implementation.all)
    func softmax(_ implementation: Implementation) {
        var g = Generator(16)
        let x = (0..<1234).map { _ in Float.random(in: -200...200, using: &g) }
        var p = x
        var (largest, total): (Float, Float) = (0, 0)
        implementation.k.softmax(&p, p.count, 0.125, &largest, &total)
        let max = Double(x.max()!) * 0.125
        let sum = x.reduce(0.0) { $0 + exp(Double($1) * 0.125 - max) }
        #expect(largest == Float(max) && abs(Double(total) - sum) <= 200 * unit * sum)
        for i in x.indices {
            let exact = exp(Double(x[i]) * 0.125 - max) / sum
            #expect(abs(Double(p[i]) - exact) <= 200 * unit * exact)
        }
        func of(_ x: [Float]) -> [Float] {
            var p = x
            var (largest, sum): (Float, Float) = (0, 0)
            implementation.k.softmax(&p, p.count, 1, &largest, &sum)
            return p
        }
        #expect(of([3]) == [1])
        #expect(of([-.infinity, 2, -.infinity, 2]) == [0, 0.5, 0, 0.5])
        func spoilt(_ x: [Float]) -> Bool { !of(x).contains { !$0.isNaN } }
        #expect(spoilt([-.infinity, -.infinity]))
        for bad in [.nan, .infinity] as [Float] {
            for n in [0, 2, 15, 16, 70] {
                let zeros = [Float](repeating: 0, count: n)
                #expect(spoilt([bad] + zeros) && spoilt(zeros + [bad]) && spoilt(zeros + [bad] + zeros))
            }
        }
    }

    @Test(arguments: Implementation.all)
    func argmax(_ implementation: Implementation) {
        func of(_ x: [Float]) -> (Int, Float) {
            var sum: Float = 7
            return (implementation.k.argmax_sum_exp(x, x.count, &sum), sum)
        }
        var g = Generator(17)
        for n in [1, 2, 15, 16, 17, 100, 1000] {
            let x = (0..<n).map { _ in Float.random(in: -5...5, using: &g) }
            let (best, sum) = of(x)
            #expect(best == x.firstIndex(of: x.max()!)!)
            let exact = x.reduce(0.0) { $0 + exp(Double($1) - Double(x[best])) }
            #expect(abs(Double(sum) - exact) <= 100 * unit * exact)
            // Wherever the largest stands, the first of two is taken.
            for i in 0..<n {
                var tied = [Float](repeating: 1, count: n)
                tied[i] = 2
                tied[n - 1] = 2
                #expect(of(tied).0 == i)
            }
        }
        #expect(of([-0.0, 0]).0 == 0 && of([0, -0.0]).1 == 2)
        #expect(of([.nan, 1, .nan, 3, 3]).0 == 3)
        #expect(of([.nan, 1]).1.isNaN)
        for hopeless in [[.nan, .nan], [.nan, -.infinity], [-.infinity, -.infinity]] as [[Float]] {
            let (best, sum) = of(hopeless)
            #expect(best == 0 && sum.isNaN)
        }
        #expect(of([-.infinity, -7]) == (1, 1))
        #expect(of([0, .infinity]).0 == 1)
    }

    /// Weights against exponentials in double precision.
    @Test(arguments: Implementation.all)
    func weigh(_ implementation: Implementation) {
        var g = Generator(18)
        let z = (0..<777).map { _ in Float.random(in: -40...3, using: &g) } + [3]
        var weights = [UInt64](repeating: 7, count: z.count)
        let sum = implementation.k.weigh(z, z.count, 3, -20, &weights)
        #expect(sum == weights.reduce(0, +) && weights[777] == 1 << 41)
        for i in z.indices {
            let exact = z[i] < -20 ? 0 : exp(Double(z[i]) - 3) * 0x1p41
            #expect(abs(Double(weights[i]) - exact) <= 0.5 + 4 * unit * exact)
        }
    }

    @Test func exponential() {
        var worst = 0.0, count = 0
        for sign: UInt32 in [0, 1 << 31] {
            for bits in stride(from: UInt32(0x2000_0000), through: 0x42b2_0000, by: 331) {
                let x = Float(bitPattern: bits | sign), exact = exp(Double(x))
                if x < -87.33654 || x > 88.72283 { continue }
                worst = max(worst, abs(Double(llk_expf(x)) - exact) / Double(Float(exact).ulp))
                count += 1
            }
        }
        print("llk_expf: at most \(worst) ulp off at \(count) points")
        #expect(worst < 1)
        #expect(llk_expf(0) == 1 && llk_expf(-0.0) == 1)
        #expect(llk_expf(.infinity) == .infinity && llk_expf(-.infinity) == 0 && llk_expf(.nan).isNaN)
        #expect(llk_expf(.greatestFiniteMagnitude) == .infinity && llk_expf(-.greatestFiniteMagnitude) == 0)
        // The ends: the last finite and the last normal result, and their neighbours.
        let highest = Float(0x1.62e42ep6), lowest = -Float(0x1.5d589ep6)
        #expect(llk_expf(highest).isFinite && llk_expf(highest.nextUp) == .infinity)
        #expect(exp(Double(highest)) < 0x1p128 && exp(Double(highest.nextUp)) > 0x1p128)
        #expect(llk_expf(lowest) >= .leastNormalMagnitude && llk_expf(lowest.nextDown) == 0)
        #expect(exp(Double(lowest)) > 0x1p-126 && exp(Double(lowest.nextDown)) < 0x1p-126)
        #expect(llk_expf(lowest.nextDown).sign == .plus)
    }

    @Test func roundingToBfloat16() {
        // Of the two neighbours, the nearer; of two equally near, the even one.
        var g = Generator(18)
        var inputs = (0..<100_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: g.next())) }
        for h in [0, 1, 0x7f, 0x80, 0x3f80, 0x3f81, 0x7f7f] as [UInt32] {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] as [UInt32] {
                inputs += [Float(bitPattern: h << 16 | low), -Float(bitPattern: h << 16 | low)]
            }
        }
        inputs += [.infinity, -.infinity, .nan, Float(bitPattern: 0x7f80_0001), Float(bitPattern: 0xff80_0001)]
        var out = [UInt16](repeating: 7, count: inputs.count)
        llk_f32_to_bf16(inputs, inputs.count, &out)
        for (x, h) in zip(inputs, out) {
            if x.isNaN {
                #expect(h & 0x7f80 == 0x7f80 && h & 0x7f != 0 && UInt32(h >> 15) == x.bitPattern >> 31)
                continue
            }
            let down = UInt16(x.bitPattern >> 16), up = down &+ 1  // in magnitude; after the largest, infinity
            func value(_ h: UInt16) -> Double {
                h & 0x7fff == 0x7f80 ? 0x1p128 : abs(Double(Float(bitPattern: UInt32(h) << 16)))
            }
            let below = abs(Double(x)) - value(down), above = value(up) - abs(Double(x))
            let expected = x.isInfinite || below < above || (below == above && down & 1 == 0) ? down : up
            if h != expected { Issue.record("\(x): \(h), not \(expected)") }
        }
        llk_f32_to_bf16(inputs, 0, &out)
    }
}

private typealias Sgemm =
    @convention(c) (
        Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32, UnsafePointer<Float>, Int32,
        Float,
        UnsafeMutablePointer<Float>, Int32
    ) -> Void

private let openBLAS: Sgemm? = {
    setenv("OPENBLAS_NUM_THREADS", "1", 1)  // with more, the engine would leave a library that others use alone
    guard let library = dlopen("libopenblas.so.0", RTLD_NOW), let symbol = dlsym(library, "cblas_sgemm") else {
        return nil
    }
    return unsafeBitCast(symbol, to: Sgemm.self)
}()
