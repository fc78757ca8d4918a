import Kernels

/// The arithmetic of a model and who does it: kernels, threads, and OpenBLAS if it was asked for.
package struct Compute: Sendable {
    package let kernels: llk_kernels
    package let team: ThreadTeam
    /// Serves dense products with f32 weights, if there.
    package let blas: OpenBLAS?

    package init(isa: llk_isa = llk_best_isa(), team: ThreadTeam, blas: OpenBLAS? = nil) {
        kernels = llk_get(isa).pointee
        self.team = team
        self.blas = blas
    }
}

extension Compute {
    /// y = x W^T over all threads.  x: [rows, ldx >= inputs];  y: [rows, ldy >= outputs]
    ///
    /// Who computes an element depends on the matrix alone, never on the number of rows: so a row has the same bits in
    /// a prefill of 512 as in a step of 32.
    func product(
        _ x: UnsafePointer<Float>, stride ldx: Int, rows: Int, _ weight: Matrix,
        _ y: UnsafeMutablePointer<Float>, stride ldy: Int
    ) {
        if rows == 0 { return }
        let size = tileSize(weight.outputs)
        team.forEach((weight.outputs + size - 1) / size) { index, _ in
            let first = index * size
            tile(x, stride: ldx, rows: rows, weight, first..<min(first + size, weight.outputs), y, stride: ldy)
        }
    }

    /// Some outputs of the product, on the calling thread.
    func tile(
        _ x: UnsafePointer<Float>, stride ldx: Int, rows: Int, _ weight: Matrix, _ outputs: Range<Int>,
        _ y: UnsafeMutablePointer<Float>, stride ldy: Int
    ) {
        if let blas, weight.type == LLK_F32 {
            blas.tile(x, stride: ldx, rows: rows, weight, outputs, y, stride: ldy)
        } else {
            kernels.matmul(
                x, ldx, rows, weight.base, weight.type, weight.inputs, outputs.lowerBound, outputs.upperBound, y, ldy)
        }
    }

    /// h = silu(gate x) * up x over all threads.  x: [rows, hidden];  h, scratch: [rows, intermediate]
    func gatedProduct(
        _ x: UnsafePointer<Float>, rows: Int, _ weights: FeedForwardWeights,
        _ h: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
    ) {
        let width = weights.gate.outputs
        let inputs = weights.gate.inputs
        product(x, stride: inputs, rows: rows, weights.gate, h, stride: width)
        product(x, stride: inputs, rows: rows, weights.up, scratch, stride: width)
        team.forEach(rows) { row, _ in
            kernels.silu_mul(h + row * width, scratch + row * width, width)
        }
    }

    /// Outputs a task: enough tasks to even out threads, enough work in each to be worth taking.
    private func tileSize(_ outputs: Int) -> Int {
        if blas != nil { return OpenBLAS.tileOutputs }
        let share = outputs / (team.size * 4)
        return max(32, min(512, (share + 15) / 16 * 16))
    }
}
