import Glibc
import Kernels

/// The system's OpenBLAS, found at run time, for dense products with f32 weights.
///
/// OpenBLAS chooses its order of summation by the shape of the call. So each matrix is multiplied in calls of one
/// shape: tiles of `tileRows` rows, padded with zeros, by `tileOutputs` outputs. While they run, OpenBLAS is set to one
/// thread, and the library's own threads share the tiles. The host may use the same OpenBLAS: the number of threads
/// that it has set is its own, and is put back.
package final class OpenBLAS: Sendable {
    private typealias Sgemm =
        @convention(c) (
            Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>?, Int32, UnsafePointer<Float>?, Int32,
            Float, UnsafeMutablePointer<Float>?, Int32
        ) -> Void

    private static let rowMajor: Int32 = 101
    private static let asIs: Int32 = 111
    private static let transposed: Int32 = 112
    private static let tileRows = 32
    static let tileOutputs = 256

    private let sgemm: Sgemm
    private let threading: Threading

    /// The library of this process. It is loaded once, at the first use.
    package static let shared = Result { () throws(LLaDAError) in try OpenBLAS() }

    /// Loads the library with RTLD_LOCAL; it stays loaded. Throws `.unsupported` if it cannot be loaded.
    private init() throws(LLaDAError) {
        let name = "libopenblas.so.0"
        guard let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
            throw LLaDAError(
                .unsupported, "\(name) cannot be loaded: \(dlerror().map { String(cString: $0) } ?? "unknown")")
        }
        guard let sgemm = dlsym(handle, "cblas_sgemm"), let threading = Threading(handle) else {
            throw LLaDAError(.unsupported, "\(name) lacks cblas_sgemm or what its number of threads is set by")
        }
        self.sgemm = unsafeBitCast(sgemm, to: Sgemm.self)
        self.threading = threading
    }

    /// How many threads OpenBLAS uses.
    private final class Threading: Sendable {
        private typealias Get = @convention(c) () -> Int32
        private typealias Set = @convention(c) (Int32) -> Void

        private let get: Get
        private let set: Set
        /// Whether each thread of the process has a number of its own, as with OpenMP. Else there is one for all.
        private let isOfThread: Bool
        private let ours = Locked(Ours())

        /// Our calls that run, and what the host has set.
        private struct Ours {
            var running = 0
            var hosts: Int32 = 1
            var process = llk_process()
        }

        init?(_ library: UnsafeMutableRawPointer) {
            guard let parallel = dlsym(library, "openblas_get_parallel") else { return nil }
            isOfThread = unsafeBitCast(parallel, to: Get.self)() == 2
            guard let get = dlsym(library, isOfThread ? "omp_get_max_threads" : "openblas_get_num_threads"),
                let set = dlsym(library, isOfThread ? "omp_set_num_threads" : "openblas_set_num_threads")
            else { return nil }
            self.get = unsafeBitCast(get, to: Get.self)
            self.set = unsafeBitCast(set, to: Set.self)
        }

        /// Runs `body`, for which OpenBLAS has one thread.
        func withOne(_ body: () -> Void) {
            isOfThread ? withOneHere(body) : withOneEverywhere(body)
        }

        private func withOneHere(_ body: () -> Void) {
            let hosts = get()
            if hosts != 1 { set(1) }
            body()
            if hosts != 1 { set(hosts) }
        }

        /// The last of our calls puts back what the host has set.
        private func withOneEverywhere(_ body: () -> Void) {
            ours.withLock { ours in
                let process = llk_process()
                // A fork has left behind the threads whose calls ran, and nothing was put back.
                let isForked = ours.process != process && ours.running > 0
                if ours.process != process { (ours.process, ours.running) = (process, 0) }
                let now = get()
                if now != 1 {
                    ours.hosts = now
                    set(1)
                } else if ours.running == 0, !isForked {
                    ours.hosts = 1
                }
                ours.running += 1
            }
            body()
            ours.withLock { ours in
                ours.running -= 1
                // A host that has set another number meanwhile wants that.
                if ours.running == 0, ours.hosts != 1, get() == 1 { set(ours.hosts) }
            }
        }
    }

    /// Computes some outputs of y = x W^T, from a multiple of `tileOutputs` on.  x: [rows, ldx];  y: [rows, ldy]
    func tile(
        _ x: UnsafePointer<Float>, stride ldx: Int, rows: Int, _ weight: Matrix, _ outputs: Range<Int>,
        _ y: UnsafeMutablePointer<Float>, stride ldy: Int
    ) {
        let inner = weight.inputs
        let weights = weight.base.assumingMemoryBound(to: Float.self)
        // Operand and result are packed, so that no stride of the caller is part of the shape.
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.tileRows * (inner + Self.tileOutputs)) { scratch in
            guard let padded = scratch.baseAddress else { return }
            let result = padded + Self.tileRows * inner
            for firstRow in stride(from: 0, to: rows, by: Self.tileRows) {
                let count = min(Self.tileRows, rows - firstRow)
                for row in 0..<count { (padded + row * inner).update(from: x + (firstRow + row) * ldx, count: inner) }
                (padded + count * inner).update(repeating: 0, count: (Self.tileRows - count) * inner)
                for first in stride(from: outputs.lowerBound, to: outputs.upperBound, by: Self.tileOutputs) {
                    let width = min(Self.tileOutputs, outputs.upperBound - first)
                    threading.withOne {
                        sgemm(
                            Self.rowMajor, Self.asIs, Self.transposed, Int32(Self.tileRows), Int32(width),
                            Int32(inner), 1, padded, Int32(inner), weights + first * inner, Int32(inner), 0,
                            result, Int32(width))
                    }
                    for row in 0..<count {
                        (y + (firstRow + row) * ldy + first).update(from: result + row * width, count: width)
                    }
                }
            }
        }
    }
}
