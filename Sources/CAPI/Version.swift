import CLLaDA
import Glibc
import LLaDA

@_cdecl("llada_version") @implementation
public func llada_version() -> UInt32 {
    UInt32(LLADA_VERSION_MAJOR * 10000 + LLADA_VERSION_MINOR * 100 + LLADA_VERSION_PATCH)
}

@_cdecl("llada_version_string") @implementation
public func llada_version_string() -> UnsafePointer<CChar>? { Texts.version }

@_cdecl("llada_build_info") @implementation
public func llada_build_info() -> UnsafePointer<CChar>? { Texts.buildInfo }

/// Texts that are made at the first call and never freed.
private enum Texts {
    nonisolated(unsafe) static let version = lasting(number)
    nonisolated(unsafe) static let buildInfo = lasting("llada \(number) (kernels: \(Model.kernelsName))")

    private static let number = "\(LLADA_VERSION_MAJOR).\(LLADA_VERSION_MINOR).\(LLADA_VERSION_PATCH)"

    /// Returns a C string that is never freed; nil if there is no memory for it.
    private static func lasting(_ text: String) -> UnsafePointer<CChar>? { UnsafePointer(strdup(text)) }
}
