import CLLaDA
import LLaDA

@_cdecl("llada_version") @implementation
public func llada_version() -> UInt32 {
    UInt32(LLADA_VERSION_MAJOR * 10000 + LLADA_VERSION_MINOR * 100 + LLADA_VERSION_PATCH)
}

@_cdecl("llada_version_string") @implementation
public func llada_version_string() -> UnsafePointer<CChar>? { cString("0.1.0") }

@_cdecl("llada_build_info") @implementation
public func llada_build_info() -> UnsafePointer<CChar>? {
    switch Model.kernelsName {
    case "avx512": cString("llada 0.1.0 (kernels: avx512)")
    case "avx2": cString("llada 0.1.0 (kernels: avx2)")
    default: cString("llada 0.1.0 (kernels: portable)")
    }
}

/// The bytes of a literal: NUL-terminated, and there as long as the library is.
func cString(_ literal: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(literal.utf8Start).assumingMemoryBound(to: CChar.self)
}
