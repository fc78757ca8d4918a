import Kernels

/// Formats as the kernels name them.
extension NumberFormat {
    /// Of row-major numbers; nil if the kernels read none of this format.
    package var rows: llk_dtype? {
        switch self {
        case .f32: LLK_F32
        case .f16: LLK_F16
        case .bf16: LLK_BF16
        case .f8E4M3, .int8, .int4: nil
        }
    }

    /// Of packed matrices (packed.h); nil if there are none of this format.
    package var packed: llk_format? {
        switch self {
        case .bf16: LLK_PACKED_BF16
        case .int8: LLK_PACKED_INT8
        case .int4: LLK_PACKED_INT4
        case .f32, .f16, .f8E4M3: nil
        }
    }

    /// Of what every token passes in a model held in this format. Attention, dense layers, shared experts and the head
    /// are a small part of the bytes, but a block of tokens is bound by arithmetic in them, at which int8 is faster,
    /// and their errors reach every token. So they are held in no less than int8.
    package var ofAllTokens: NumberFormat { self == .int4 ? .int8 : self }
}

extension Matrix.Layout {
    /// As a model of this format holds its matrices; nil: as they are stored.
    package init(_ dtype: NumberFormat?, stored: llk_dtype) {
        if let format = dtype?.packed {
            self = .packed(format)
        } else {
            self = .rows(dtype?.rows ?? stored)
        }
    }
}
