import Glibc

/// The making of a description: all that opening a model tries, each part by itself, so that one that fails hides no
/// other. Nothing but headers and small files is read.
final class CheckpointInspection {
    private(set) var description: ModelDescription
    private var files = SideFiles()

    init(_ path: String) { description = ModelDescription(path: path) }

    func run() {
        description.memoryBytes = MemorySize().bytes
        let path = description.path
        guard let gguf = attempt({ () throws(LLaDAError) in try ggufFile(at: path) }) else { return }
        let names = attempt { () throws(LLaDAError) in try FolderListing.names(path) }
        if let gguf {
            inspectGGUF(gguf)
        } else if let names = names ?? nil {
            inspectFolder(names)
        } else {
            attempt { () throws(LLaDAError) in try Checkpoint.open(path) }
        }
    }

    /// Returns what `body` returns; nil, with a problem more, if it throws. What two parts meet is one problem.
    @discardableResult
    private func attempt<Result>(_ body: () throws(LLaDAError) -> Result) -> Result? {
        do throws(LLaDAError) {
            return try body()
        } catch {
            let problem = ModelDescription.Problem(status: error.status, message: error.message)
            if !description.problems.contains(problem) { description.problems.append(problem) }
            return nil
        }
    }

    private func inspectFolder(_ names: [String]) {
        let folder = description.path
        var areRead = SideFiles.exists(.config, in: folder)
        for name in SideFiles.Name.allCases where SideFiles.exists(name, in: folder) {
            let read: Void? = attempt { () throws(LLaDAError) in try files.read(name, in: folder) }
            areRead = areRead && read != nil
        }
        let config = attempt { () throws(LLaDAError) in try ModelConfig(files) }
        description.config = config
        description.expectedExperts = config?.expectedExperts(rows: ModelDescription.stepTokens)
        let faults = inspectHeaders(folder, names)
        description.family = family(folder)
        let source = attempt { () throws(LLaDAError) in
            try Checkpoint.open(folder, files: areRead ? files : nil)
        }
        var notes = config?.notes ?? []
        if let source {
            inspectTensors(source)
            notes += source.notes
        }
        // Opening says what is wrong with the files; want of memory, which met one of the two, is told anyhow.
        for fault in faults where source == nil || fault.status == .outOfMemory {
            if !description.problems.contains(fault) { description.problems.append(fault) }
        }
        inspectText(config)
        description.notes = notes + description.notes
    }

    private func inspectGGUF(_ file: String) {
        description.container = .gguf
        let source = attempt { () throws(LLaDAError) in try GGUFCheckpoint.open(file) }
        guard let source else { return }
        source.forEachStored { count($0, bytes: $1) }
        description.storedTypes.sort { $0.bytes > $1.bytes }
        files = source.sideFiles
        description.config = source.config
        description.expectedExperts = source.config.expectedExperts(rows: ModelDescription.stepTokens)
        description.family = family(file)
        inspectTensors(source)
        let (config, notes) = (source.config, source.config.notes + source.notes)
        inspectText(config)
        description.notes = notes + description.notes
    }

    /// Counts what the files of weights hold, whether they are a model or not, and returns what is wrong with them.
    private func inspectHeaders(_ folder: String, _ names: [String]) -> [ModelDescription.Problem] {
        let outer = description.problems
        defer { description.problems = outer }
        description.problems = []
        for name in names where name.utf8.reversed().starts(with: ".safetensors".utf8.reversed()) {
            description.container = .safetensors
            let tensors = attempt { () throws(LLaDAError) in
                try Safetensors(try InputFile("\(folder)/\(name)"), name: name)
            }
            if let entries = tensors?.entries {
                for entry in entries.indices {
                    count(entries.type(entry).rawValue, bytes: entries.bytes(entry).count)
                }
            }
        }
        description.storedTypes.sort { $0.bytes > $1.bytes }
        return description.problems
    }

    private func count(_ type: String, bytes: Int) {
        if let place = description.storedTypes.firstIndex(where: { $0.name == type }) {
            description.storedTypes[place].tensors += 1
            description.storedTypes[place].bytes += bytes
        } else {
            description.storedTypes.append(.init(name: type, tensors: 1, bytes: bytes))
        }
    }

    /// Lays the tensors out in each format, as opening does, without reading them.
    private func inspectTensors(_ source: any TensorSource) {
        guard let room = Reserve.note({ () throws(LLaDAError) in try Reserve.Room(source.listSize) }) else { return }
        defer { room.close() }
        let config = source.config
        let file = Checkpoint.singleFileName.string
        guard let packed = attempt({ () throws(LLaDAError) in try PackedFile(source.metadata, file: file) }) else {
            return
        }
        if packed != nil { description.container = .packed }
        let team = ThreadTeam(measuring: ThreadTeam.availableThreads)
        for dtype in packed == nil ? [nil, .f32, .bf16, .int8, .int4] : [nil] as [NumberFormat?] {
            let held = dtype ?? packed?.dtype
            let weights = attempt { () throws(LLaDAError) in
                let weights = try Weights(source, held, packed, team: team, measuring: true)
                try packed?.check(weights, file: file)
                return weights
            }
            guard let weights else { return }
            description.parameters = weights.parameters
            let kvDType: NumberFormat = weights.dtype?.packed == nil ? .f32 : .bf16
            let numbers = 2 * config.numHiddenLayers * config.numKeyValueHeads * config.headDim
            let read = weights.stepBytes(
                experts: config.expectedExperts(rows: ModelDescription.stepTokens), of: config)
            let opening = OpeningMemory(source, weights.sizes)
            // With maps, a packed model leaves its experts in their file.
            let mapped = packed.flatMap { packed in
                attempt { () throws(LLaDAError) in
                    try Weights(source, held, packed, team: team, mapping: true, measuring: true).sizes
                }
            }
            let mappedOpening = mapped.map { OpeningMemory(source, $0) } ?? opening
            let isSaveable = weights.dtype?.packed != nil
            let workspace = Workspace.byteCount(
                config, weights, kvDType: kvDType, threads: team.size,
                rows: Batch.mostRows(blockLength: ModelDescription.stepTokens), wanted: ModelDescription.stepTokens,
                blockLength: ModelDescription.stepTokens)
            description.memory.append(
                .init(
                    dtype: dtype, weightBytes: weights.byteCount, kvDType: kvDType,
                    kvBytesPerToken: numbers * (kvDType == .f32 ? 4 : 2), stepBytes: Int(read.rounded()),
                    openingBytes: opening.peak, openBytes: opening.held(isSaveable: isSaveable),
                    mappedOpeningBytes: mappedOpening.peak,
                    mappedOpenBytes: mappedOpening.held(isSaveable: isSaveable), workspaceBytes: workspace))
        }
    }

    private func inspectText(_ config: ModelConfig?) {
        let tokenizer = attempt { () throws(LLaDAError) in
            try Tokenizer(files, modelVocabularySize: config?.vocabSize)
        }
        if let tokenizer = tokenizer ?? nil {
            description.tokenizer = .init(
                vocabularySize: tokenizer.vocabularySize, addedTokens: tokenizer.addedTokens.count,
                controlTokens: tokenizer.specialCount)
            for place in description.memory.indices {
                description.memory[place].openBytes += tokenizer.byteCount
                description.memory[place].mappedOpenBytes += tokenizer.byteCount
            }
            let chat = attempt { () throws(LLaDAError) in try ChatTemplate(files, tokenizer: tokenizer) }
            description.isKnownChatLayout = chat?.isKnownLayout
            description.chatLayoutReason = chat?.layoutReason
        }
        guard let config else { return }
        let ids = attempt { () throws(LLaDAError) in
            try SpecialTokens(config, tokenizer ?? nil, Model.Options())
        }
        guard let ids else { return }
        description.mask = ids.mask.map { .init(id: $0.id, source: $0.source.name) }
        description.ends = ids.ends.map { ends in ends.ids.map { .init(id: $0, source: ends.source.name) } } ?? []
        description.delete = ids.edits.map { .init(id: $0.tokens.delete, source: $0.sources.delete.name) }
        description.split = ids.edits.map { .init(id: $0.tokens.split, source: $0.sources.split.name) }
        description.notes += ids.notes
    }

    // MARK: Family

    private func family(_ folder: String) -> ModelFamily {
        ModelFamily(
            config: Reserve.note { () throws(LLaDAError) in try files.json(.config) } ?? nil,
            card: text("README.md", in: folder),
            code: text("modeling_llada2_moe.py", in: folder), folder: Self.name(of: folder))
    }

    private func text(_ name: String, in folder: String) -> String? {
        Reserve.note { () throws(LLaDAError) in
            let file = try FilePrefix(whole: "\(folder)/\(name)", limit: 4 << 20)
            return try withExtendedLifetime(file) { () throws(LLaDAError) in
                try Reserve.withRoom(64 + 8 * file.bytes.count) { () throws(LLaDAError) in
                    String(decoding: file.bytes, as: UTF8.self)
                }
            }
        }
    }

    /// Returns the name of a folder, also of one that is called ".".
    private static func name(of folder: String) -> String {
        guard let real = realpath(folder, nil) else { return folder }
        defer { free(real) }
        let name = String(cString: real)
        return name.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? name
    }
}
