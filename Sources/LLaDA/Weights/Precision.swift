import Kernels

/// How the matrices of a model are held. What is small and sensitive stays exact: norms, biases and routers in f32, and the
/// embedding, of which a few rows are read, as it is stored.
package enum Precision: Sendable, Equatable {
    /// Row-major; nil as stored, in place.
    case rows(llk_dtype?)
    case packed(llk_format)

    /// The head decides between tokens that may be close: not below int8.
    func head() -> Precision {
        self == .packed(LLK_PACKED_INT4) ? .packed(LLK_PACKED_INT8) : self
    }
}
