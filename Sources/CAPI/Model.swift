import CLLaDA
import LLaDA

/// Returns the model behind a handle. The result holds a reference of its own, so `llada_model_free` may be called
/// meanwhile.
func model(_ handle: OpaquePointer?) throws(LLaDAError) -> Model {
    guard let handle else { throw .null("model") }
    return Unmanaged<Model>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
}

/// Returns a C callback in the form that the engine takes: a non-zero result becomes `.stopped`.
func progress(
    _ callback: llada_progress_callback?, _ user: UnsafeMutableRawPointer?, of work: String
) -> Progress? {
    guard let callback else { return nil }
    return { (part) throws(LLaDAError) in
        let stops = HostThread.callBack { callback(part, user) } != 0
        if stops { throw LLaDAError(.stopped, "\(work) was stopped by the progress callback") }
    }
}

@_cdecl("llada_model_options_init") @implementation
public func llada_model_options_init(
    _ options: UnsafeMutablePointer<llada_model_options>?, _ size: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    var defaults = llada_model_options()
    defaults.dtype = llada_dtype(LLADA_DTYPE_AUTO)
    defaults.kv_dtype = llada_dtype(LLADA_DTYPE_AUTO)
    defaults.mask_token_id = -1
    defaults.delete_token_id = -1
    defaults.split_token_id = -1
    defaults.blas = llada_blas(LLADA_BLAS_AUTO)
    defaults.use_mmap = llada_mmap(LLADA_MMAP_AUTO)
    return answer(error) { () throws(LLaDAError) in
        try CallerStruct.initialize(options, size, "llada_model_options", to: defaults)
    }
}

@_cdecl("llada_model_open") @implementation
public func llada_model_open(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<llada_model_options>?,
    _ model: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let path = try CAPI.path(path)
        guard let model else { throw .null("model") }
        var swiftOptions = Model.Options()
        var progress: Progress?
        // Lists and sets of the ids that end a sequence.
        let room = try Reserve.Room(try endCount(options) * 256)
        defer { room.close() }
        if let options {
            let fields = try CallerStruct(options, "llada_model_options")
            swiftOptions = try modelOptions(fields)
            progress = CAPI.progress(
                fields[\.progress] ?? nil, fields[\.progress_user] ?? nil,
                of: "loading \(String(cString: path))")
        }
        let opened = try withFile(path) { (path) throws(LLaDAError) in
            try Model(path: path, options: swiftOptions, progress: progress)
        }
        try handOut(opened, to: model)
    }
}

/// Returns the number of ids that the caller gives; 0 if it is none that an array may have.
private func endCount(_ options: UnsafePointer<llada_model_options>?) throws(LLaDAError) -> Int {
    guard let options else { return 0 }
    let count = try CallerStruct(options, "llada_model_options")[\.eos_token_id_count] ?? 0
    return 0...Int(Int32.max) ~= count ? count : 0
}

func modelOptions(_ fields: CallerStruct<llada_model_options>) throws(LLaDAError) -> Model.Options {
    var options = Model.Options()
    if let dtype = fields[\.dtype] {
        options.dtype = try numberFormat(dtype, "dtype", expected: "a LLADA_DTYPE, 0 to 6")
    }
    if let dtype = fields[\.kv_dtype] {
        options.kvDType = try numberFormat(dtype, "kv_dtype", expected: "a LLADA_DTYPE, 0 to 6")
    }
    if let blas = fields[\.blas] {
        switch Int(blas) {
        case LLADA_BLAS_AUTO: options.blas = .auto
        case LLADA_BLAS_OFF: options.blas = .off
        case LLADA_BLAS_ON: options.blas = .on
        default: throw .argument("blas", found: blas, expected: "a LLADA_BLAS, 0 to 2")
        }
    }
    if let threads = fields[\.threads] { options.threads = Int(threads) }
    if let capacity = fields[\.expert_capacity] { options.expertCapacity = Int(capacity) }
    // -1 lets the engine look for the id.
    options.maskTokenID = fields[\.mask_token_id].flatMap { $0 == -1 ? nil : $0 }
    options.deleteTokenID = fields[\.delete_token_id].flatMap { $0 == -1 ? nil : $0 }
    options.splitTokenID = fields[\.split_token_id].flatMap { $0 == -1 ? nil : $0 }
    if let ids = fields[\.eos_token_ids], let count = fields[\.eos_token_id_count] {
        options.eosTokenIDs = Array(try elements(ids, count, "eos_token_ids", "eos_token_id_count"))
    }
    if let mmap = fields[\.use_mmap] {
        switch Int(mmap) {
        case LLADA_MMAP_OFF: options.useMmap = false
        case LLADA_MMAP_ON: options.useMmap = true
        case LLADA_MMAP_AUTO: options.useMmap = nil
        default: throw .argument("use_mmap", found: mmap, expected: "a LLADA_MMAP, 0 to 2")
        }
    }
    if let cluster = fields[\.cluster] ?? nil { options.cluster = try CAPI.cluster(cluster) }
    if let usage = fields[\.expert_usage], let count = fields[\.expert_usage_count] {
        let counts = try elements(usage, count, "expert_usage", "expert_usage_count")
        options.expertUsage = try Reserve.withRoom(64 + counts.count * 8) { Array(counts) }
    }
    if let limit = fields[\.memory_limit] { options.memoryLimit = Int(clamping: limit) }
    return options
}

/// Returns the format of a `llada_dtype`; nil for AUTO.
private func numberFormat(_ code: llada_dtype, _ name: String, expected: String) throws(LLaDAError) -> NumberFormat? {
    switch Int(code) {
    case LLADA_DTYPE_AUTO: nil
    case LLADA_DTYPE_F32: .f32
    case LLADA_DTYPE_BF16: .bf16
    case LLADA_DTYPE_INT8: .int8
    case LLADA_DTYPE_INT4: .int4
    case LLADA_DTYPE_Q8_0: .q8_0
    case LLADA_DTYPE_Q4_0: .q4_0
    default: throw .argument(name, found: code, expected: expected)
    }
}

/// Returns the `llada_dtype` of a format. A model holds no other formats than the header has.
private func dtype(_ format: NumberFormat?) -> llada_dtype {
    switch format {
    case .f32: llada_dtype(LLADA_DTYPE_F32)
    case .bf16: llada_dtype(LLADA_DTYPE_BF16)
    case .int8: llada_dtype(LLADA_DTYPE_INT8)
    case .int4: llada_dtype(LLADA_DTYPE_INT4)
    case .q8_0: llada_dtype(LLADA_DTYPE_Q8_0)
    case .q4_0: llada_dtype(LLADA_DTYPE_Q4_0)
    case nil, .f16, .f8E4M3: llada_dtype(LLADA_DTYPE_AUTO)
    }
}

@_cdecl("llada_model_save") @implementation
public func llada_model_save(
    _ model: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ progress: llada_progress_callback?,
    _ progress_user: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let path = try CAPI.path(path)
        try model.save(
            to: path, progress: CAPI.progress(progress, progress_user, of: "saving \(String(cString: path))"))
    }
}

@_cdecl("llada_model_free") @implementation
public func llada_model_free(_ model: OpaquePointer?) {
    guard let model else { return }
    HostThread.enter { Unmanaged<Model>.fromOpaque(UnsafeRawPointer(model)).release() }
}

@_cdecl("llada_model_describe") @implementation
public func llada_model_describe(
    _ path: UnsafePointer<CChar>?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let path = try CAPI.path(path)
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        let json = try withFile(path) { (path) throws(LLaDAError) in
            let description = Model.describe(path: path)
            // Want of memory says nothing of the checkpoint.
            if description.problems.contains(where: { $0.status == .outOfMemory }) { throw Reserve.exhausted }
            let texts = (description.notes + description.problems.map(\.message)).reduce(0) { $0 + $1.utf8.count }
            let json = try Reserve.withRoom(1 << 18 + 32 * texts) { () throws(LLaDAError) in description.json }
            try Reserve.check()
            return json
        }
        try buffer.fill(utf8: json.utf8)
    }
}

@_cdecl("llada_model_get_info") @implementation
public func llada_model_get_info(
    _ model: OpaquePointer?, _ info: UnsafeMutablePointer<llada_model_info>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        guard let info else { throw .null("info") }
        let config = model.config
        var result = llada_model_info()
        result.vocab_size = Int32(clamping: config.vocabSize)
        result.hidden_size = Int32(clamping: config.hiddenSize)
        result.num_hidden_layers = Int32(clamping: config.numHiddenLayers)
        result.first_k_dense_replace = Int32(clamping: config.firstKDenseReplace)
        result.num_attention_heads = Int32(clamping: config.numAttentionHeads)
        result.num_key_value_heads = Int32(clamping: config.numKeyValueHeads)
        result.head_dim = Int32(clamping: config.headDim)
        result.intermediate_size = Int32(clamping: config.intermediateSize)
        result.moe_intermediate_size = Int32(clamping: config.moeIntermediateSize)
        result.num_experts = Int32(clamping: config.numExperts)
        result.num_experts_per_tok = Int32(clamping: config.numExpertsPerTok)
        result.max_position_embeddings = Int32(clamping: config.maxPositionEmbeddings)
        result.mask_token_id = model.maskTokenID ?? -1
        result.delete_token_id = model.deleteTokenID ?? -1
        result.split_token_id = model.splitTokenID ?? -1
        result.eos_token_id = model.eosTokenIDs.first ?? -1
        result.dtype = dtype(model.dtype)
        result.kv_dtype = dtype(model.kvDType)
        result.threads = Int32(clamping: model.threads)
        result.has_tokenizer = model.tokenizer != nil
        result.has_chat_template = model.chatTemplate != nil
        result.knows_chat_layout = model.chatTemplate?.isKnownLayout ?? false
        result.num_parameters = UInt64(clamping: model.numParameters)
        result.weight_bytes = UInt64(clamping: model.weightBytes)
        result.memory_used = UInt64(clamping: model.memoryUsed)
        try CallerStruct(info, "llada_model_info").write(result)
    }
}

@_cdecl("llada_model_eos_token_ids") @implementation
public func llada_model_eos_token_ids(
    _ model: OpaquePointer?, _ ids: UnsafeMutablePointer<Int32>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        try CallerBuffer(ids, capacity: capacity, count: count, "ids").fill(model.eosTokenIDs)
    }
}

@_cdecl("llada_model_notes") @implementation
public func llada_model_notes(
    _ model: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let buffer = try CallerBuffer(text, capacity: capacity, count: count, "text")
        let room = try Reserve.Room(model.notes.reduce(64) { $0 + 4 * $1.utf8.count })
        defer { room.close() }
        try buffer.fill(utf8: model.notes.joined(separator: "\n").utf8)
    }
}

@_cdecl("llada_model_logits") @implementation
public func llada_model_logits(
    _ model: OpaquePointer?, _ tokens: UnsafePointer<Int32>?, _ token_count: Int, _ block_length: Int32,
    _ progress: llada_progress_callback?, _ progress_user: UnsafeMutableRawPointer?,
    _ logits: UnsafeMutablePointer<Float>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        let tokens = try elements(tokens, token_count, "tokens", "token_count")
        let buffer = try CallerBuffer(logits, capacity: capacity, count: count, "logits")
        // Neither factor is above Int32.max.
        try buffer.fill(count: tokens.count * model.config.vocabSize) { (logits) throws(LLaDAError) in
            try model.logits(
                tokens, blockLength: Int(block_length), into: logits,
                progress: CAPI.progress(progress, progress_user, of: "computing logits"))
        }
    }
}
