import Kernels

/// Activations in the form that a matrix takes: f32, or prepared for a packed format.
struct Operand {
    fileprivate(set) var base: UnsafeRawPointer  // [rows] of `stride` bytes
    fileprivate(set) var stride: Int
    fileprivate(set) var rows: Int
}

extension Operand {
    func rows(_ range: Range<Int>) -> Operand {
        Operand(base: base + range.lowerBound * stride, stride: stride, rows: range.count)
    }

    /// Copies some of the rows, one after another.  out: [indices.count] of `stride` bytes
    func gather(_ indices: ArraySlice<Int>, into out: UnsafeMutablePointer<UInt8>) -> Operand {
        var end = UnsafeMutableRawPointer(out)
        for row in indices {
            end.copyMemory(from: base + row * stride, byteCount: stride)
            end += stride
        }
        return Operand(base: UnsafeRawPointer(out), stride: stride, rows: indices.count)
    }
}

extension Compute {
    /// Returns the bytes of a row of an operand of `weight`.
    func stride(for weight: Matrix) -> Int {
        switch weight.layout {
        case .rows: weight.inputs * 4
        case .packed(let format): llk_row_size(format, weight.inputs)
        }
    }

    /// Returns x in the form that `weight` takes, prepared on the calling thread.  x: [rows, inputs];
    /// out: [rows] of `stride(for:)` bytes, if needed
    func operand(
        _ x: UnsafePointer<Float>, rows: Int, for weight: Matrix, into out: UnsafeMutablePointer<UInt8>
    ) -> Operand {
        guard case .packed(let format) = weight.layout else {
            return Operand(base: UnsafeRawPointer(x), stride: weight.inputs * 4, rows: rows)
        }
        kernels(format).prepare(x, weight.inputs, rows, weight.inputs, out)
        return Operand(base: UnsafeRawPointer(out), stride: stride(for: weight), rows: rows)
    }

    /// Returns x in the form that `weight` takes, and any matrix with its layout and inputs. The operand is valid as
    /// long as x, and until the next operand is made in `work`.  x: [rows, ldx >= inputs]
    func operand(
        _ x: UnsafePointer<Float>, stride ldx: Int, rows: Int, for weight: Matrix, _ work: Workspace
    ) throws(LLaDAError) -> Operand {
        guard case .packed(let format) = weight.layout else {
            return Operand(base: UnsafeRawPointer(x), stride: ldx * 4, rows: rows)
        }
        let prepared = try work.operand.reserve(work.mostRows * llk_row_size(format, weight.inputs))
        return prepare(x, ldx, rows, format, weight, prepared)
    }

    /// Returns x in the form that `weight` takes, in `memory` if it is not x itself.  x: [rows, ldx >= inputs]
    func operand(
        _ x: UnsafePointer<Float>, stride ldx: Int, rows: Int, for weight: Matrix, _ memory: inout Scratch<UInt8>,
        room: Int
    ) throws(LLaDAError) -> Operand {
        guard case .packed(let format) = weight.layout else {
            return Operand(base: UnsafeRawPointer(x), stride: ldx * 4, rows: rows)
        }
        let prepared = try memory.reserve(max(rows, room) * llk_row_size(format, weight.inputs))
        return prepare(x, ldx, rows, format, weight, prepared)
    }

    /// Prepares x over all threads.  prepared: [rows] of llk_row_size bytes
    private func prepare(
        _ x: UnsafePointer<Float>, _ ldx: Int, _ rows: Int, _ format: llk_format, _ weight: Matrix,
        _ prepared: UnsafeMutablePointer<UInt8>
    ) -> Operand {
        let size = llk_row_size(format, weight.inputs)
        let kernels = kernels(format)
        let piece = 8
        team.forEach((rows + piece - 1) / piece) { index, _ in
            let first = index * piece
            kernels.prepare(x + first * ldx, ldx, min(piece, rows - first), weight.inputs, prepared + first * size)
        }
        return Operand(base: UnsafeRawPointer(prepared), stride: size, rows: rows)
    }

    /// Computes y = x W^T over all threads.  y: [rows, ldy >= outputs]
    ///
    /// The matrix alone decides which task computes an element, never the number of rows. So a row has the same bits in
    /// a prefill of 512 rows as in a step of 32.
    func product(_ x: Operand, _ weight: Matrix, _ y: UnsafeMutablePointer<Float>, stride ldy: Int) {
        if x.rows == 0 { return }
        let size = tileSize(weight)
        team.forEach((weight.outputs + size - 1) / size) { index, _ in
            let first = index * size
            tile(x, weight, first..<min(first + size, weight.outputs), y, stride: ldy)
        }
    }

    /// Computes some outputs of the product, from a multiple of 256 on, on the calling thread.
    func tile(_ x: Operand, _ weight: Matrix, _ outputs: Range<Int>, _ y: UnsafeMutablePointer<Float>, stride ldy: Int)
    {
        switch weight.layout {
        case .packed(let format):
            let tile = Int(LLK_TILE)
            kernels(format).product(
                x.base, x.rows, weight.base, weight.outputs, weight.inputs, outputs.lowerBound / tile,
                (outputs.upperBound + tile - 1) / tile, y, ldy)
        case .rows(LLK_F32) where blas != nil:
            blas?.tile(
                x.base.assumingMemoryBound(to: Float.self), stride: x.stride / 4, rows: x.rows, weight, outputs, y,
                stride: ldy)
        case .rows(let type):
            kernels.matmul(
                x.base.assumingMemoryBound(to: Float.self), x.stride / 4, x.rows, weight.base, type, weight.inputs,
                outputs.lowerBound, outputs.upperBound, y, ldy)
        }
    }

    /// Returns the outputs of a task: there are enough tasks to balance the threads, and each has enough work to be
    /// worth taking.
    private func tileSize(_ weight: Matrix) -> Int {
        if blas != nil, weight.layout == .rows(LLK_F32) { return OpenBLAS.tileOutputs }
        let share = weight.outputs / (team.size * 4)
        return max(64, min(512, (share + 63) / 64 * 64))
    }
}
