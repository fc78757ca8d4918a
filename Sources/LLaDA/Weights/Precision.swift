import Kernels

/// How the matrices of a model are held. What is small and sensitive stays exact: norms, biases and routers in f32, and the
/// embedding, of which a few rows are read, as it is stored.
package enum Precision: Sendable, Equatable {
    /// Row-major; nil as stored, in place.
    case rows(llk_dtype?)
    case packed(llk_format)

    /// Of what every token passes: attention, dense layers, shared experts and the head are a small part of the bytes, but with
    /// a block of tokens bound by arithmetic, at which int8 is faster, and errors in them reach every token. Not below int8.
    package var ofAllTokens: Precision {
        self == .packed(LLK_PACKED_INT4) ? .packed(LLK_PACKED_INT8) : self
    }
}
