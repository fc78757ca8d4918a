/// The formats in which numbers are held and multiplied: the one list between `llada_dtype` of the header and the
/// kernels.
public enum NumberFormat: Sendable, CaseIterable {
    case f32
    case f16
    case bf16
    /// E4M3 with scales for blocks of a matrix. Checkpoints store it; nothing is computed in it.
    case f8E4M3
    /// Integers of 8 bits with a scale for every 64 inputs. Activations have the same form.
    case int8
    /// Integers of 4 bits with a scale for every 32 inputs. Activations are int8.
    case int4
    /// GGUF's Q8_0: integers of 8 bits with a scale for every 32 inputs, as they are in the file. Activations are int8.
    case q8_0
    /// GGUF's Q4_0: integers of 4 bits with a scale for every 32 inputs, as they are in the file. Activations are int8.
    case q4_0

    /// What messages, packed files and the bindings call the format.
    public var name: String {
        switch self {
        case .f32: "f32"
        case .f16: "f16"
        case .bf16: "bf16"
        case .f8E4M3: "f8_e4m3"
        case .int8: "int8"
        case .int4: "int4"
        case .q8_0: "q8_0"
        case .q4_0: "q4_0"
        }
    }
}
