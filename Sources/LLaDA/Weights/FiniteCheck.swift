import Kernels

/// A check of weights for NaN and infinities, as they are held. It costs a reading of what has just been written.
struct FiniteCheck {
    private let source: String
    private let team: ThreadTeam

    /// `source` is what messages call the checkpoint.
    init(_ source: String, _ team: ThreadTeam) {
        self.source = source
        self.team = team
    }

    /// Throws `.numeric` if a number of a vector is not finite.
    func check(_ vector: Buffer<Float>, _ name: String) throws(LLaDAError) {
        let base = UnsafeRawPointer(vector.pointer)
        guard !Self.isFinite(base, LLK_F32, vector.count) else { return }
        let index = (0..<vector.count).first { !vector.pointer[$0].isFinite } ?? 0
        throw error(name, "[\(index)]", "\(vector.pointer[index])")
    }

    /// Throws `.numeric` if a number of a matrix is not finite. Of packed integers the scales tell it.
    func check(_ matrix: Matrix, _ name: String) throws(LLaDAError) {
        let tile = Int(LLK_TILE)
        let firstBad = Locked<Int?>(nil)
        team.forEach((matrix.outputs + tile - 1) / tile) { index, _ in
            if !isFinite(matrix, tile: index) { firstBad.withLock { $0 = min($0 ?? index, index) } }
        }
        guard let bad = firstBad.withLock({ $0 }) else { return }
        let outputs = bad * tile..<min((bad + 1) * tile, matrix.outputs)
        throw error(name, "rows \(outputs.lowerBound) to \(outputs.upperBound - 1)", "NaN or infinite")
    }

    private func error(_ name: String, _ place: String, _ found: String) -> LLaDAError {
        LLaDAError(
            .numeric, file: source, key: "tensor \"\(name)\": a number in \(place)", found: found,
            expected: "finite numbers")
    }

    private func isFinite(_ matrix: Matrix, tile index: Int) -> Bool {
        let tile = Int(LLK_TILE)
        switch matrix.layout {
        case .rows(let type):
            let first = index * tile
            let count = (min(first + tile, matrix.outputs) - first) * matrix.inputs
            return Self.isFinite(matrix.base + first * matrix.inputs * Matrix.width(of: type), type, count)
        case .packed(let format):
            let size = llk_packed_size(format, tile, matrix.inputs)
            let base = matrix.base + index * size
            if format == LLK_PACKED_BF16 { return Self.isFinite(base, LLK_BF16, size / 2) }
            // The scales of 64 outputs stand at the end of each block, or, where a scale is for 32 inputs, of each
            // half.
            let part = llk_packed_size(format, tile, 1) / (format == LLK_PACKED_INT8 ? 1 : 2)
            let type = format == LLK_PACKED_Q8_0 || format == LLK_PACKED_Q4_0 ? LLK_F16 : LLK_BF16
            return stride(from: 0, to: size, by: part).allSatisfy { start in
                Self.isFinite(base + start + part - 2 * tile, type, tile)
            }
        }
    }

    /// Whether all of `count` numbers are finite. The largest magnitude shows it, compared as an integer.
    static func isFinite(_ base: UnsafeRawPointer, _ type: llk_dtype, _ count: Int) -> Bool {
        if type == LLK_F32 {
            var most: UInt32 = 0
            for index in 0..<count {
                most = max(most, base.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self) & 0x7FFF_FFFF)
            }
            return most < 0x7F80_0000
        }
        var most: UInt16 = 0
        for index in 0..<count {
            most = max(most, base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self) & 0x7FFF)
        }
        return most < (type == LLK_F16 ? 0x7C00 : 0x7F80)
    }
}
