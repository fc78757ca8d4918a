@_exported import CAPI

/// C's `hypotf`. Swift's static library has a function that would ask for the one of glibc 2.35, though nothing calls
/// it, and all else runs on glibc 2.34: the linker takes this one instead, and `exports.map` keeps it inside.
@_cdecl("hypotf")
public func hypotf(_ x: Float, _ y: Float) -> Float {
    if x.isInfinite || y.isInfinite { return .infinity }
    return Float((Double(x) * Double(x) + Double(y) * Double(y)).squareRoot())
}
