// What the tests of the kernels share: a generator, awkward numbers, memory that bites, and equality of bits.
import Kernels

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// An implementation this machine can run.
struct Implementation: CustomStringConvertible, Sendable {
    let isa: llk_isa
    var description: String { String(cString: llk_isa_name(isa)) }
    var k: llk_kernels { llk_get(isa)!.pointee }
    func packed(_ format: llk_format) -> llk_packed_kernels { llk_get_packed(isa, format)!.pointee }
    var attention: llk_attention_kernels { llk_get_attention(isa)!.pointee }

    static let portable = Implementation(isa: LLK_PORTABLE)
    static let all = [LLK_PORTABLE, LLK_NEON, LLK_I8MM, LLK_AVX2, LLK_AVXVNNI, LLK_AVX512]
        .filter { llk_get($0) != nil }.map(Implementation.init)
    static let fast = all.filter { $0.isa != LLK_PORTABLE }
}

/// SplitMix64: the same tests on every run.
struct Generator: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
    mutating func size(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}

/// The numbers a test feeds in.
enum Kind: CaseIterable {
    /// between -1 and 1
    case plain
    /// any finite magnitude, zeros of both signs, denormals; products underflow to -0 and overflow
    case wild
    /// the same, infinities and NaN too
    case special

    func value(_ g: inout Generator) -> Float {
        switch (self, g.size(0...15)) {
        case (.plain, _): return Float.random(in: -1...1, using: &g)
        case (_, 0): return 0
        case (_, 1): return -0.0
        case (_, 2): return Float(bitPattern: UInt32(g.size(1...0x7f_ffff)) | (g.next() & 1 == 0 ? 0 : 1 << 31))
        case (_, 3): return Float.random(in: -1e-25...1e-25, using: &g)
        case (.wild, 4): return Float.random(in: -1e19...1e19, using: &g)
        case (.special, 4): return [.infinity, -.infinity, .nan][g.size(0...2)]
        default: return Float.random(in: -4...4, using: &g)
        }
    }
}

/// Memory whose last byte is followed by a page that may not be touched, and whose start is as unaligned as that makes
/// it.
final class Guarded {
    let start: UnsafeMutableRawPointer
    let bytes: Int
    private let map: UnsafeMutableRawPointer
    private let length: Int

    init(bytes: Int) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let room = (bytes + page - 1) / page * page
        length = room + page
        map = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        precondition(map != MAP_FAILED && mprotect(map + room, page, PROT_NONE) == 0)
        start = map + (room - bytes)
        self.bytes = bytes
    }

    /// `spare` bytes at the end move the start off its alignment.
    convenience init(_ floats: [Float], spare: Int = 0) {
        self.init(bytes: 4 * floats.count + spare)
        floats.withUnsafeBytes { if $0.count > 0 { start.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    }

    deinit { munmap(map, length) }

    /// The kernels ask for no alignment, so a test may hand them a Float pointer that has none.
    var floats: UnsafeMutablePointer<Float> { UnsafeMutablePointer(OpaquePointer(start)) }

    func read(_ count: Int) -> [Float] {
        (0..<count).map { start.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
}

/// A weight matrix in one of the three formats, with what its elements stand for.
struct Weights {
    let memory: Guarded
    let values: [Float]

    init(_ count: Int, _ dtype: llk_dtype, _ kind: Kind, spare: Int, _ g: inout Generator) {
        let size = dtype == LLK_F32 ? 4 : 2
        memory = Guarded(bytes: count * size + spare)
        var values = [Float](repeating: 0, count: count)
        for i in 0..<count {
            let value = kind.value(&g)
            switch dtype {
            case LLK_F32:
                values[i] = value
                memory.start.storeBytes(of: value.bitPattern, toByteOffset: 4 * i, as: UInt32.self)
            case LLK_F16:
                // Awkward values would all round to zero or infinity: take any bits instead.
                var half = kind == .plain ? Float16(value) : Float16(bitPattern: UInt16(truncatingIfNeeded: g.next()))
                if kind == .wild && !half.isFinite { half = -Float16.leastNonzeroMagnitude }
                values[i] = Float(half)
                memory.start.storeBytes(of: half.bitPattern, toByteOffset: 2 * i, as: UInt16.self)
            default:
                let half = UInt16(value.bitPattern >> 16)
                values[i] = Float(bitPattern: UInt32(half) << 16)
                memory.start.storeBytes(of: half, toByteOffset: 2 * i, as: UInt16.self)
            }
        }
        self.values = values
    }
}

let dtypes = [LLK_F32, LLK_F16, LLK_BF16]

func random(_ count: Int, _ kind: Kind, _ g: inout Generator) -> [Float] { (0..<count).map { _ in kind.value(&g) } }

/// Where the bits first differ, or nil. One NaN is as good as another.
func difference(_ a: [Float], _ b: [Float]) -> String? {
    if a.count != b.count { return "\(a.count) and \(b.count) elements" }
    for i in a.indices where a[i].bitPattern != b[i].bitPattern && !(a[i].isNaN && b[i].isNaN) {
        return "[\(i)]: \(a[i]) and \(b[i])"
    }
    return nil
}
