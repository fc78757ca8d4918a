import Kernels

/// The names of the formats in the kernels.
extension NumberFormat {
    /// The kernels' type of row-major numbers; nil if the kernels read none of this format.
    package var rows: llk_dtype? {
        switch self {
        case .f32: LLK_F32
        case .f16: LLK_F16
        case .bf16: LLK_BF16
        case .f8E4M3, .int8, .int4, .q8_0, .q4_0: nil
        }
    }

    /// The kernels' format of packed matrices (packed.h); nil if it does not exist.
    package var packed: llk_format? {
        switch self {
        case .bf16: LLK_PACKED_BF16
        case .int8: LLK_PACKED_INT8
        case .int4: LLK_PACKED_INT4
        case .q8_0: LLK_PACKED_Q8_0
        case .q4_0: LLK_PACKED_Q4_0
        case .f32, .f16, .f8E4M3: nil
        }
    }

    /// The format of the matrices that every token passes, in a model of this format: at least int8. Attention, dense
    /// layers, shared experts and the head are a small part of the bytes. A block of tokens is bound by arithmetic in
    /// them, where int8 is faster than int4, and their errors reach every token.
    package var ofAllTokens: NumberFormat { self == .int4 ? .int8 : self }
}

extension Matrix.Layout {
    /// Makes the layout of a matrix in a model of this format; nil keeps the stored type.
    package init(_ dtype: NumberFormat?, stored: llk_dtype) {
        if let format = dtype?.packed {
            self = .packed(format)
        } else {
            self = .rows(dtype?.rows ?? stored)
        }
    }

    /// Makes the layout of a matrix that is made of this tensor. As stored, float8 becomes bf16, and blocks that the
    /// kernels do not multiply become int8.
    package init(_ dtype: NumberFormat?, stored: Tensor) {
        if dtype == nil, case .plain = stored.encoding {
            self.init(nil, stored: stored.dtype?.rows ?? LLK_BF16)
        } else {
            self.init(dtype ?? (stored.dtype?.packed == nil ? .int8 : stored.dtype), stored: LLK_F32)
        }
    }

    /// The packed format; nil for rows.
    package var packed: NumberFormat? {
        guard case .packed(let format) = self else { return nil }
        return NumberFormat.allCases.first { $0.packed == format }
    }

    /// What a packed file calls the layout: "int8", or "BF16" for rows, as a safetensors file calls their type.
    var name: String {
        switch self {
        case .rows(let type): SafetensorsType(type).rawValue
        case .packed: packed?.name ?? ""
        }
    }
}
