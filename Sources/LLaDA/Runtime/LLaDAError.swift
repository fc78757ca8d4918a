import Glibc

/// The stable status codes of `llada.h`. Every error of the library carries one.
public enum Status: Int32, Sendable {
    /// Success; no error carries it.
    case ok = 0
    /// An argument is out of its range or contradicts another.
    case invalidArgument = -1
    /// There is no memory, or no room in the budget of a prefix cache.
    case outOfMemory = -2
    /// A file is missing, unreadable, or ends early.
    case io = -3
    /// A file, or a text of the caller, is not well-formed JSON.
    case json = -4
    /// A value of `config.json` is missing, has the wrong type, is out of range, or contradicts another.
    case config = -5
    /// A file breaks the safetensors format.
    case safetensors = -6
    /// `model.safetensors.index.json` is inconsistent, or names a file outside its folder.
    case shardIndex = -7
    /// A tensor is missing, or its shape or type differs from what the config demands.
    case tensor = -8
    /// `tokenizer.json` is inconsistent.
    case tokenizer = -9
    /// The input is well-formed, but this library does not implement what it asks for.
    case unsupported = -10
    /// A call came out of order, such as `apply` without a proposal.
    case state = -11
    /// The handle is in use, by another thread or by the caller of the running callback.
    case busy = -12
    /// `cancel` was called.
    case cancelled = -13
    /// A callback asked to stop.
    case stopped = -14
    /// The caller's buffer is too small for the result.
    case bufferTooSmall = -15
    /// The mask or end-of-sequence id is unknown, or stands where it must not.
    case specialToken = -16
    /// A snapshot is damaged, has another version, or belongs to another model.
    case snapshot = -17
    /// Weights are NaN or infinite, or make the model compute NaN; or a scale is no positive finite number.
    case numeric = -18
    /// A file breaks the GGUF format.
    case gguf = -19
    /// Another rank of a cluster has died, hangs, or is of another version or another model; or MPI reports an error.
    case cluster = -20
}

/// An error of the library: a status, and a message that names the file, the key, what was found and what was expected.
public struct LLaDAError: Error, Equatable, Sendable, CustomStringConvertible {
    public let status: Status
    public let message: String

    public init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    /// Reports a value from outside that is not what it should be.
    package init(_ status: Status, file: String, key: String, found: String, expected: String) {
        self.init(status, "\(file): \(key) is \(found); expected \(expected)")
    }

    /// Reports what the system refused to do, and its reason. Want of memory has a status of its own.
    package init(_ status: Status = .io, cannot action: String, errno code: Int32) {
        self.init(
            code == ENOMEM ? .outOfMemory : status,
            "cannot \(action): \(strerror(code).map { String(cString: $0) } ?? "error \(code)")")
    }

    public var description: String { "\(status): \(message)" }
}
