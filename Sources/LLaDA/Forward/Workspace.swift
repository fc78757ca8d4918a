import Kernels

/// The activations of one forward. It belongs to one forward at a time, and grows to the largest batch.
package struct Workspace {
    var residual = Scratch<Float>()  // [rows, hidden]
    var normed = Scratch<Float>()  // [rows, hidden]
    var delta = Scratch<Float>()  // [rows, hidden]
    var queryKeyValue = Scratch<Float>()  // [rows, (heads + 2 kvHeads) * headDim]
    var mixed = Scratch<Float>()  // [rows, heads * headDim]
    var attention = Scratch<Float>()  // [threads, see Attention.attend]
    var gate = Scratch<Float>()  // [rows, intermediate]
    var up = Scratch<Float>()  // [rows, intermediate]
    var router = Scratch<Float>()  // [rows, experts]
    var operand = Scratch<UInt8>()  // [rows, prepared row]
    var expertOperands = Scratch<UInt8>()  // [threads, piece] of the prepared rows of x and of h
    var expertGate = Scratch<Float>()  // [threads, 2, piece, moeIntermediate]
    var expertResults = Scratch<Float>()  // [rows * k, hidden]
    var shared = Scratch<Float>()  // [rows, hidden]
    private var anglesScratch = Scratch<Float>()  // [rows, 2 (cosines, sines), rotaryDim / 2]
    private(set) var angles: UnsafePointer<Float>

    package init() throws(LLaDAError) {
        angles = UnsafePointer(try anglesScratch.reserve(1))
    }

    /// Computes the angles of all rows, which are the same for every layer.
    mutating func prepareAngles(_ rows: [Row], _ rotary: Rotary) throws(LLaDAError) {
        let half = rotary.half
        let base = try anglesScratch.reserve(rows.count * 2 * half)
        for (index, row) in rows.enumerated() {
            let cosines = base + index * 2 * half
            rotary.fill(cosines, cosines + half, position: row.position)
        }
        angles = UnsafePointer(base)
    }
}

/// The workspaces of a model: as many as the most forwards that have run at once. An idle decoder needs none.
final class WorkspacePool: Sendable {
    /// The idle workspaces. Nothing else refers to them, nor to one that `take` has returned.
    private struct Idle: @unchecked Sendable { var workspaces: [Workspace] = [] }

    private let idle = Locked(Idle())

    func take() throws(LLaDAError) -> Workspace {
        if let workspace = idle.withLock({ $0.workspaces.popLast() }) { return workspace }
        return try Workspace()
    }

    func giveBack(_ workspace: Workspace) {
        let returned = Idle(workspaces: [workspace])
        idle.withLock { $0.workspaces += returned.workspaces }
    }
}
