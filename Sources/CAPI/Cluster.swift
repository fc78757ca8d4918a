import CLLaDA
import LLaDA

/// Returns the cluster behind a handle.
func cluster(_ handle: OpaquePointer?) throws(LLaDAError) -> Cluster {
    guard let handle else { throw .null("cluster") }
    return Unmanaged<Cluster>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
}

@_cdecl("llada_cluster_options_init") @implementation
public func llada_cluster_options_init(
    _ options: UnsafeMutablePointer<llada_cluster_options>?, _ size: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    var defaults = llada_cluster_options()
    defaults.timeout_ms = Int32(clamping: Cluster.Options().timeout)
    return answer(error) { () throws(LLaDAError) in
        try CallerStruct.initialize(options, size, "llada_cluster_options", to: defaults)
    }
}

@_cdecl("llada_cluster_create") @implementation
public func llada_cluster_create(
    _ options: UnsafePointer<llada_cluster_options>?, _ cluster: UnsafeMutablePointer<OpaquePointer?>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        guard let cluster else { throw .null("cluster") }
        try handOut(try Cluster(try clusterOptions(options)), to: cluster)
    }
}

private func clusterOptions(_ pointer: UnsafePointer<llada_cluster_options>?) throws(LLaDAError) -> Cluster.Options {
    var options = Cluster.Options()
    options.version = Int(llada_version())
    guard let pointer else { return options }
    let fields = try CallerStruct(pointer, "llada_cluster_options")
    if let value = fields[\.timeout_ms] { options.timeout = Int(value) }
    if let value = fields[flag: \.initialise] { options.initialise = value }
    if let value = fields[\.communicator] { options.communicator = UInt(bitPattern: value) }
    if let value = fields[\.library] ?? nil { options.library = try string(try path(value)) }
    if let shares = fields[\.shares], let count = fields[\.share_count] {
        let most = 1 << 16
        guard 0...most ~= count else { throw .argument("share_count", found: count, expected: "0 to \(most)") }
        let given = try elements(shares, count, "shares", "share_count")
        options.shares = try Reserve.withRoom(64 + count * MemoryLayout<Double>.stride) { Array(given) }
    }
    return options
}

@_cdecl("llada_cluster_free") @implementation
public func llada_cluster_free(_ cluster: OpaquePointer?) {
    guard let cluster else { return }
    HostThread.enter {
        let reference = Unmanaged<Cluster>.fromOpaque(UnsafeRawPointer(cluster))
        reference.takeUnretainedValue().close()
        reference.release()
    }
}

@_cdecl("llada_cluster_serve") @implementation
public func llada_cluster_serve(
    _ cluster: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<llada_model_options>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let cluster = try CAPI.cluster(cluster)
        var swiftOptions = Model.Options()
        if let options { swiftOptions = try modelOptions(try CallerStruct(options, "llada_model_options")) }
        guard let path else { return try cluster.serve(options: swiftOptions) }
        try withFile(try CAPI.path(path)) { (path) throws(LLaDAError) in
            try cluster.serve(path: path, options: swiftOptions)
        }
    }
}

@_cdecl("llada_cluster_get_info") @implementation
public func llada_cluster_get_info(
    _ cluster: OpaquePointer?, _ info: UnsafeMutablePointer<llada_cluster_info>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let found = try CAPI.cluster(cluster).info
        guard let info else { throw .null("info") }
        var result = llada_cluster_info()
        result.rank = Int32(clamping: found.rank)
        result.size = Int32(clamping: found.size)
        result.bytes_sent = UInt64(clamping: found.bytesSent)
        result.bytes_received = UInt64(clamping: found.bytesReceived)
        result.messages_sent = UInt64(clamping: found.messagesSent)
        result.messages_received = UInt64(clamping: found.messagesReceived)
        try CallerStruct(info, "llada_cluster_info").write(result)
    }
}
