extension Model {
    /// Writes a packed model to the folder `path`, which is new or empty. The folder opens like any checkpoint, and
    /// opening it packs nothing. `progress` receives the part done, from 0 to 1. An error that it throws ends the call
    /// and is rethrown.
    ///
    /// The folder gets the config and tokenizer files as they were when the model was opened. The options of the
    /// opening are not saved. After an error nothing is left behind. Throws `.invalidArgument` if the model is not
    /// packed, and `.io` if the folder is not empty or cannot be written.
    public func save(to path: String, progress: Progress? = nil) throws(LLaDAError) {
        try withPath(path) { (path) throws(LLaDAError) in try save(to: path, progress: progress) }
    }

    package func save(to path: UnsafePointer<CChar>, progress: Progress?) throws(LLaDAError) {
        if transformer.exchange != nil {
            throw LLaDAError(
                .unsupported, "other ranks of the cluster hold a part of the model; open it without one to save it")
        }
        guard let dtype, let sideFiles else {
            throw LLaDAError(
                .invalidArgument,
                "the model is not packed, and its folder is all there is to save: open it as bf16, int8 or int4")
        }
        // Lists of tensors and of their pieces, and the header as text, in arrays that double.
        let room = try Reserve.Room(
            transformer.weights.tensors.reduce(0) { $0 + 4096 + 32 * $1.name.utf8.count + 64 * $1.pieces.count })
        defer { room.close() }
        // Tensors that fill whole cache lines go first, so that each of them begins at one. These are the large ones.
        let all = transformer.weights.tensors
        let tensors = all.filter { Self.fillsLines($0) } + all.filter { !Self.fillsLines($0) }
        let header = SafetensorsHeader(
            tensors.map { .init(name: $0.name, type: $0.type, shape: $0.shape, byteCount: $0.byteCount) },
            metadata: PackedFile.metadata(dtype, transformer.weights))
        let total = tensors.reduce(header.bytes.count) { $0 + $1.byteCount }
        var done = 0
        func advance(_ bytes: Int) throws(LLaDAError) {
            done += bytes
            try progress?(Double(done) / Double(total))
        }
        let folder = try NewFolder(path)
        let name = Checkpoint.singleFileName.string
        try header.bytes.withUnsafeBufferPointer { (header) throws(LLaDAError) in
            try folder.write(name, [UnsafeRawBufferPointer(header)] + tensors.flatMap(\.pieces), progress: advance)
        }
        for name in sideFiles.names {
            try sideFiles.withBytes(of: name) { (bytes) throws(LLaDAError) in
                try folder.write(name.rawValue, [bytes]) { (_) throws(LLaDAError) in }
            }
        }
        try folder.publish()
    }

    private static func fillsLines(_ tensor: HeldTensor) -> Bool { tensor.byteCount % SafetensorsHeader.alignment == 0 }
}
