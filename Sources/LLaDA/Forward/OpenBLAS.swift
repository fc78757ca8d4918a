import Glibc

/// The system's OpenBLAS, found at run time, for dense products with f32 weights.
///
/// OpenBLAS chooses its order of summation by the shape of the call. So each matrix is multiplied in calls of one
/// shape: tiles of `tileRows` rows, padded with zeros, by `tileOutputs` outputs. OpenBLAS is set to one thread, and the
/// library's own threads share the tiles.
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

    /// The library of this process. It is loaded once, at the first use.
    package static let shared = Result { () throws(LLaDAError) in try OpenBLAS() }

    /// Loads the library with RTLD_LOCAL; it stays loaded. Throws `.unsupported` if it cannot be loaded, or if the host
    /// uses it with several threads: the number of threads is then the host's, and must not be changed.
    private init() throws(LLaDAError) {
        let name = "libopenblas.so.0"
        if let theirs = dlopen(name, RTLD_NOLOAD | RTLD_LAZY), !Self.isOurs(theirs) {
            dlclose(theirs)
            throw LLaDAError(.unsupported, "\(name) is in use by the host; its number of threads is not ours to change")
        }
        guard let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) else {
            throw LLaDAError(
                .unsupported, "\(name) cannot be loaded: \(dlerror().map { String(cString: $0) } ?? "unknown")")
        }
        guard let sgemm = dlsym(handle, "cblas_sgemm"), let setThreads = dlsym(handle, "openblas_set_num_threads")
        else {
            throw LLaDAError(.unsupported, "\(name) lacks cblas_sgemm or openblas_set_num_threads")
        }
        unsafeBitCast(setThreads, to: (@convention(c) (Int32) -> Void).self)(1)
        self.sgemm = unsafeBitCast(sgemm, to: Sgemm.self)
    }

    /// Whether OpenBLAS has one thread, because an earlier model has set it so or because the host has.
    private static func isOurs(_ handle: UnsafeMutableRawPointer) -> Bool {
        guard let get = dlsym(handle, "openblas_get_num_threads") else { return false }
        return unsafeBitCast(get, to: (@convention(c) () -> Int32).self)() == 1
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
                    sgemm(
                        Self.rowMajor, Self.asIs, Self.transposed, Int32(Self.tileRows), Int32(width), Int32(inner), 1,
                        padded, Int32(inner), weights + first * inner, Int32(inner), 0,
                        result, Int32(width))
                    for row in 0..<count {
                        (y + (firstRow + row) * ldy + first).update(from: result + row * width, count: width)
                    }
                }
            }
        }
    }
}
