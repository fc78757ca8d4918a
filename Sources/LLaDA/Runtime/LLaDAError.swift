import Glibc

/// The stable status codes of `llada.h`; every refusal of the library carries one.
public enum Status: Int32, Sendable {
    case ok = 0
    case invalidArgument = -1
    case outOfMemory = -2
    /// A file is missing, unreadable, or ends early.
    case io = -3
    /// A file is not well-formed JSON.
    case json = -4
    /// A value of `config.json` is missing, of the wrong type, out of range, or contradicts another.
    case config = -5
    /// A file breaks the safetensors format.
    case safetensors = -6
    /// `model.safetensors.index.json` is inconsistent, or names a file outside its folder.
    case shardIndex = -7
    /// A tensor is missing, or its shape or type is not what the config asks for.
    case tensor = -8
    /// `tokenizer.json` is inconsistent.
    case tokenizer = -9
    /// Well-formed, but nothing this library implements.
    case unsupported = -10
    /// A call came out of order.
    case state = -11
    /// The handle is in use: by another thread, or by the callback's own caller.
    case busy = -12
    /// `cancel` was called.
    case cancelled = -13
    /// A callback asked to stop.
    case stopped = -14
    case bufferTooSmall = -15
    /// The mask or end-of-sequence id is unknown, or stands where it must not.
    case specialToken = -16
    /// A snapshot is damaged, of another version, or of another model.
    case snapshot = -17
}

/// What went wrong, in words that name the file, the key, what was found and what was expected.
public struct LLaDAError: Error, Equatable, Sendable, CustomStringConvertible {
    public let status: Status
    public let message: String

    public init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    /// A value from outside that is not what it should be.
    package init(_ status: Status, file: String, key: String, found: String, expected: String) {
        self.init(status, "\(file): \(key) is \(found); expected \(expected)")
    }

    /// What the system refused to do, and its reason.
    package init(_ status: Status = .io, cannot action: String, errno code: Int32) {
        self.init(status, "cannot \(action): \(strerror(code).map { String(cString: $0) } ?? "error \(code)")")
    }

    public var description: String { "\(status): \(message)" }
}
