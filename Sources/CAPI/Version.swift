import CLLaDA

@_cdecl("llada_version") @implementation
public func llada_version() -> UInt32 { 100 }
