import Kernels

/// What a model computes with: kernels, threads, the memory of forwards, and OpenBLAS if it was asked for.
package struct Compute: Sendable {
    package let kernels: llk_kernels
    /// The kernels of packed matrices, by format.
    private let packed: [llk_packed_kernels]
    /// The kernels of attention over keys and values in bf16.
    let attention: llk_attention_kernels
    /// The kernels of attention over keys and values in int8.
    let byteAttention: llk_byte_attention_kernels
    package let team: ThreadTeam
    /// The library for dense products with f32 weights; nil if they use the kernels.
    package let blas: OpenBLAS?
    /// What the model's memory counts towards.
    package let budget: MemoryBudget
    package let workspaces: WorkspacePool

    package init(
        isa: llk_isa = KernelChoice.isa, team: ThreadTeam, blas: OpenBLAS? = nil, budget: MemoryBudget = MemoryBudget()
    ) {
        kernels = llk_get(isa).pointee
        packed = [LLK_PACKED_BF16, LLK_PACKED_INT8, LLK_PACKED_INT4, LLK_PACKED_Q8_0, LLK_PACKED_Q4_0]
            .map { llk_get_packed(isa, $0).pointee }
        attention = llk_get_attention(isa).pointee
        byteAttention = llk_get_byte_attention(isa).pointee
        self.team = team
        self.blas = blas
        self.budget = budget
        workspaces = WorkspacePool(budget)
    }

    func kernels(_ format: llk_format) -> llk_packed_kernels { packed[Int(format.rawValue)] }
}
