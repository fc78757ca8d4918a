import CLLaDA
import LLaDA

@_cdecl("llada_status_name") @implementation
public func llada_status_name(_ status: llada_status) -> UnsafePointer<CChar>? {
    switch Status(rawValue: status) {
    case .ok: cString("LLADA_OK")
    case .invalidArgument: cString("LLADA_ERROR_INVALID_ARGUMENT")
    case .outOfMemory: cString("LLADA_ERROR_OUT_OF_MEMORY")
    case .io: cString("LLADA_ERROR_IO")
    case .json: cString("LLADA_ERROR_JSON")
    case .config: cString("LLADA_ERROR_CONFIG")
    case .safetensors: cString("LLADA_ERROR_SAFETENSORS")
    case .shardIndex: cString("LLADA_ERROR_SHARD_INDEX")
    case .tensor: cString("LLADA_ERROR_TENSOR")
    case .tokenizer: cString("LLADA_ERROR_TOKENIZER")
    case .unsupported: cString("LLADA_ERROR_UNSUPPORTED")
    case .state: cString("LLADA_ERROR_STATE")
    case .busy: cString("LLADA_ERROR_BUSY")
    case .cancelled: cString("LLADA_ERROR_CANCELLED")
    case .stopped: cString("LLADA_ERROR_STOPPED")
    case .bufferTooSmall: cString("LLADA_ERROR_BUFFER_TOO_SMALL")
    case .specialToken: cString("LLADA_ERROR_SPECIAL_TOKEN")
    case .snapshot: cString("LLADA_ERROR_SNAPSHOT")
    case .numeric: cString("LLADA_ERROR_NUMERIC")
    case .gguf: cString("LLADA_ERROR_GGUF")
    case .cluster: cString("LLADA_ERROR_CLUSTER")
    case nil: cString("unknown status")
    }
}

/// Returns the bytes of a literal, which end with a NUL and stay as long as the library does.
private func cString(_ literal: StaticString) -> UnsafePointer<CChar> {
    UnsafeRawPointer(literal.utf8Start).assumingMemoryBound(to: CChar.self)
}

/// Runs the body of an exported function. An error that it throws becomes the status, and its message goes into
/// `report`.
func answer(
    _ report: UnsafeMutablePointer<llada_error>?, _ body: () throws(LLaDAError) -> Void
) -> llada_status {
    HostThread.enter {
        do throws(LLaDAError) {
            try Reserve.enter(body)
            return Status.ok.rawValue
        } catch {
            if let report { describe(error, in: UnsafeMutableRawPointer(report)) }
            return error.status.rawValue
        }
    }
}

/// Fills as much of a `llada_error` as its `struct_size` covers. A struct without room for a status stays unchanged.
private func describe(_ error: LLaDAError, in report: UnsafeMutableRawPointer) {
    let header = MemoryLayout<(UInt32, llada_status)>.size
    let size = min(Int(report.load(as: UInt32.self)), MemoryLayout<llada_error>.size)
    guard size >= header else { return }
    report.storeBytes(of: error.status.rawValue, toByteOffset: MemoryLayout<UInt32>.size, as: llada_status.self)
    guard size > header else { return }
    let room = UnsafeMutableRawBufferPointer(start: report + header, count: size - header)
    var text = error.message
    // In place: there may be no memory for a copy.
    text.withUTF8 { message in
        var length = min(message.count, room.count - 1)
        // A character that does not fit is left out as a whole.
        while length > 0, length < message.count, message[length] & 0xC0 == 0x80 { length -= 1 }
        room.copyBytes(from: message[..<length])
        room[length] = 0
    }
}

/// Hands a new object to the caller, who owns it, unless it is made of the reserve (`.outOfMemory`).
func handOut(_ object: AnyObject, to place: UnsafeMutablePointer<OpaquePointer?>) throws(LLaDAError) {
    try Reserve.check()
    place.pointee = OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

extension LLaDAError {
    static func null(_ argument: String) -> LLaDAError { LLaDAError(.invalidArgument, "\(argument) is NULL") }

    static func argument(_ name: String, found: some CustomStringConvertible, expected: String) -> LLaDAError {
        LLaDAError(.invalidArgument, "\(name) is \(found); expected \(expected)")
    }
}
