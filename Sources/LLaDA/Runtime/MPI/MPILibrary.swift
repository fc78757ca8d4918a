import Glibc

/// The MPI library of this process, found at run time: one that has the standard ABI (MPI 5.0, chapter "Application
/// Binary Interface"), whose handles and constants are these numbers in every implementation. Nothing is linked.
final class MPILibrary: Sendable {
    /// A handle of the ABI: a pointer that is never followed.
    typealias Handle = OpaquePointer?

    // MPI 5.0, appendix "ABI Tables".
    static var world: Handle { OpaquePointer(bitPattern: 0x101) }
    static var nullRequest: Handle { OpaquePointer(bitPattern: 0x180) }
    private static var errorsReturn: Handle { OpaquePointer(bitPattern: 0x143) }
    private static var byte: Handle { OpaquePointer(bitPattern: 0x247) }
    private static let threadSerialized: Int32 = 2048
    private static let threadMultiple: Int32 = 4096
    private static let longestErrorText = 512
    private static let abiMajor: Int32 = 1

    /// MPI_Status: source, tag, error, and five words that are the library's.
    private typealias MessageStatus = (Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32)
    private static let noStatus: MessageStatus = (0, 0, 0, 0, 0, 0, 0, 0)

    private typealias Flag = @convention(c) (UnsafeMutablePointer<Int32>) -> Int32
    private typealias Nothing = @convention(c) () -> Int32
    private typealias OfComm = @convention(c) (Handle, UnsafeMutablePointer<Int32>) -> Int32

    private typealias InitThread = @convention(c) (Int, Int, Int32, UnsafeMutablePointer<Int32>) -> Int32
    private typealias CommIdup =
        @convention(c) (Handle, UnsafeMutablePointer<Handle>, UnsafeMutablePointer<Handle>) -> Int32
    private typealias CommFree = @convention(c) (UnsafeMutablePointer<Handle>) -> Int32
    private typealias CommSetErrhandler = @convention(c) (Handle, Handle) -> Int32
    private typealias Isend =
        @convention(c) (UnsafeRawPointer?, Int32, Handle, Int32, Int32, Handle, UnsafeMutablePointer<Handle>) -> Int32
    private typealias Irecv =
        @convention(c) (UnsafeMutableRawPointer?, Int32, Handle, Int32, Int32, Handle, UnsafeMutablePointer<Handle>) ->
        Int32
    private typealias Improbe =
        @convention(c) (
            Int32, Int32, Handle, UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Handle>, UnsafeMutableRawPointer
        ) -> Int32
    private typealias Imrecv =
        @convention(c) (
            UnsafeMutableRawPointer?, Int32, Handle, UnsafeMutablePointer<Handle>, UnsafeMutablePointer<Handle>
        ) -> Int32
    private typealias GetCount = @convention(c) (UnsafeRawPointer, Handle, UnsafeMutablePointer<Int32>) -> Int32
    private typealias Test =
        @convention(c) (UnsafeMutablePointer<Handle>, UnsafeMutablePointer<Int32>, UnsafeMutableRawPointer) -> Int32
    private typealias ErrorString =
        @convention(c) (Int32, UnsafeMutablePointer<CChar>, UnsafeMutablePointer<Int32>) -> Int32

    private let initialized: Flag
    private let finalized: Flag
    private let queryThread: Flag
    private let isThreadMain: Flag
    private let initThread: InitThread
    private let finalizeAll: Nothing
    private let commRank: OfComm
    private let commSize: OfComm
    private let commIdup: CommIdup
    private let commFree: CommFree
    private let commSetErrhandler: CommSetErrhandler
    private let isend: Isend
    private let irecv: Irecv
    private let improbe: Improbe
    private let imrecv: Imrecv
    private let getCount: GetCount
    private let test: Test
    private let errorString: ErrorString

    static let name = "libmpi_abi.so.1"
    /// The environment variable that names the library's file.
    static let variable = "LLADA_MPI_LIBRARY"

    /// Finds the library: at `path`, or that which the process has loaded already, or the one that LLADA_MPI_LIBRARY
    /// names, or where the system's loader finds it. It stays loaded. Throws `.unsupported`.
    init(path: String?) throws(LLaDAError) {
        let handle = try Self.open(path)
        func find<Function>(_ name: String, as type: Function.Type) throws(LLaDAError) -> Function {
            guard let symbol = dlsym(handle, name) else {
                throw LLaDAError(.unsupported, "the MPI library lacks \(name): it has not the standard ABI of MPI 5.0")
            }
            return unsafeBitCast(symbol, to: type)
        }
        typealias Version = @convention(c) (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32
        var (major, minor): (Int32, Int32) = (0, 0)
        _ = try find("MPI_Abi_get_version", as: Version.self)(&major, &minor)
        if major != Self.abiMajor {
            throw LLaDAError(
                .unsupported, "the MPI library has version \(major).\(minor) of the ABI; expected \(Self.abiMajor)")
        }
        initialized = try find("MPI_Initialized", as: Flag.self)
        finalized = try find("MPI_Finalized", as: Flag.self)
        queryThread = try find("MPI_Query_thread", as: Flag.self)
        isThreadMain = try find("MPI_Is_thread_main", as: Flag.self)
        initThread = try find("MPI_Init_thread", as: InitThread.self)
        finalizeAll = try find("MPI_Finalize", as: Nothing.self)
        commRank = try find("MPI_Comm_rank", as: OfComm.self)
        commSize = try find("MPI_Comm_size", as: OfComm.self)
        commIdup = try find("MPI_Comm_idup", as: CommIdup.self)
        commFree = try find("MPI_Comm_free", as: CommFree.self)
        commSetErrhandler = try find("MPI_Comm_set_errhandler", as: CommSetErrhandler.self)
        isend = try find("MPI_Isend", as: Isend.self)
        irecv = try find("MPI_Irecv", as: Irecv.self)
        improbe = try find("MPI_Improbe", as: Improbe.self)
        imrecv = try find("MPI_Imrecv", as: Imrecv.self)
        getCount = try find("MPI_Get_count", as: GetCount.self)
        test = try find("MPI_Test", as: Test.self)
        errorString = try find("MPI_Error_string", as: ErrorString.self)
    }

    private static func open(_ path: String?) throws(LLaDAError) -> UnsafeMutableRawPointer {
        // RTLD_NOLOAD finds what the host program has loaded: two MPIs in a process would not know of each other.
        if path == nil, let known = dlopen(name, RTLD_NOW | RTLD_NOLOAD) { return known }
        let file = path ?? getenv(variable).map { String(cString: $0) } ?? name
        guard let handle = dlopen(file, RTLD_NOW | RTLD_LOCAL) else {
            throw LLaDAError(
                .unsupported,
                """
                no MPI library: \(dlerror().map { String(cString: $0) } ?? file); expected \(name), which MPICH 5 and \
                Open MPI 6 have (as `pip install mpich` does): put it where the loader looks, or name its file in \
                \(variable)
                """)
        }
        return handle
    }

    // MARK: The process

    var isInitialized: Bool { flag(initialized) }
    var isFinalized: Bool { flag(finalized) }
    var isMainThread: Bool { flag(isThreadMain) }

    /// Whether any thread may call MPI, one at a time.
    var allowsAnyThread: Bool { threadLevel >= Self.threadSerialized }
    /// Whether several threads may call MPI at once.
    var allowsThreadsAtOnce: Bool { threadLevel >= Self.threadMultiple }

    private var threadLevel: Int32 {
        var level: Int32 = 0
        return queryThread(&level) == 0 ? level : 0
    }

    private func flag(_ function: Flag) -> Bool {
        var flag: Int32 = 0
        return function(&flag) == 0 && flag != 0
    }

    func start() throws(LLaDAError) {
        var level: Int32 = 0
        try check(initThread(0, 0, Self.threadMultiple, &level), "initialise MPI")
    }

    func finish() { _ = finalizeAll() }

    /// Throws `.cluster` with the library's words for an error code.
    func check(_ code: Int32, _ action: @autoclosure () -> String) throws(LLaDAError) {
        if code == 0 { return }
        let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.longestErrorText) { text in
            var length: Int32 = 0
            guard let base = text.baseAddress, errorString(code, base, &length) == 0 else { return "error \(code)" }
            return String(decoding: UnsafeRawBufferPointer(start: base, count: Int(length)), as: UTF8.self)
        }
        throw LLaDAError(.cluster, "MPI cannot \(action()): \(text)")
    }

    // MARK: Communicators

    func rank(in comm: Handle) -> Int {
        var rank: Int32 = 0
        return commRank(comm, &rank) == 0 ? Int(rank) : -1
    }

    func size(of comm: Handle) -> Int {
        var size: Int32 = 0
        return commSize(comm, &size) == 0 ? Int(size) : 0
    }

    /// Begins to make a communicator of its own. It is there when the request is done.
    func duplicate(_ comm: Handle, into new: UnsafeMutablePointer<Handle>) throws(LLaDAError) -> Handle {
        var request: Handle = nil
        try check(commIdup(comm, new, &request), "duplicate the communicator")
        return request
    }

    /// Makes the functions of a communicator return errors, rather than end the process.
    func returnErrors(of comm: Handle) throws(LLaDAError) {
        try check(commSetErrhandler(comm, Self.errorsReturn), "set the error handler")
    }

    func free(_ comm: Handle) {
        var comm = comm
        _ = commFree(&comm)
    }

    // MARK: Messages

    func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int32, in comm: Handle) throws(LLaDAError) -> Handle {
        var request: Handle = nil
        try check(
            isend(bytes.baseAddress, Int32(bytes.count), Self.byte, Int32(rank), tag, comm, &request),
            "send to rank \(rank)")
        return request
    }

    func receive(
        _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int32, in comm: Handle
    ) throws(LLaDAError) -> Handle {
        var request: Handle = nil
        try check(
            irecv(bytes.baseAddress, Int32(bytes.count), Self.byte, Int32(rank), tag, comm, &request),
            "receive from rank \(rank)")
        return request
    }

    /// Takes the next message of a rank, if there is one. Whoever gets it must receive it.
    func arrival(from rank: Int, tag: Int32, in comm: Handle) throws(LLaDAError) -> (message: Handle, byteCount: Int)? {
        var (flag, count): (Int32, Int32) = (0, 0)
        var message: Handle = nil
        var status = Self.noStatus
        try check(
            improbe(Int32(rank), tag, comm, &flag, &message, &status), "look for a message of rank \(rank)")
        if flag == 0 { return nil }
        try check(getCount(&status, Self.byte, &count), "count the bytes of a message of rank \(rank)")
        return (message, Int(count))
    }

    func receive(_ message: Handle, _ bytes: UnsafeMutableRawBufferPointer) throws(LLaDAError) -> Handle {
        var (message, request): (Handle, Handle) = (message, nil)
        try check(
            imrecv(bytes.baseAddress, Int32(bytes.count), Self.byte, &message, &request), "receive a message")
        return request
    }

    /// Returns whether a request is done: if so, it is none any more. `received` becomes the bytes of what was
    /// received.
    func isDone(_ request: inout Handle, received: inout Int) throws(LLaDAError) -> Bool {
        var (flag, count): (Int32, Int32) = (0, 0)
        var status = Self.noStatus
        try check(test(&request, &flag, &status), "complete a message")
        if flag == 0 { return false }
        if getCount(&status, Self.byte, &count) == 0 { received = Int(count) }
        return true
    }
}
