/// How numbers are held, and multiplied: the one list between `llada_dtype` of the header and the kernels.
public enum NumberFormat: String, Sendable, CaseIterable {
    case f32
    case f16
    case bf16
    /// E4M3 with scales for blocks of a matrix. Checkpoints store it; nothing is computed in it.
    case f8E4M3 = "f8_e4m3"
    /// Integers with a scale for every 64 inputs; activations likewise.
    case int8
    /// Integers with a scale for every 32 inputs; activations int8.
    case int4
}
