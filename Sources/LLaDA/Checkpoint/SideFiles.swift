/// The small files beside the weights of a checkpoint: those of a folder, or texts that another format's metadata
/// become. The config, the tokenizer and the chat template are read from these bytes, and a saved model gets them.
package struct SideFiles: Sendable {
    /// The name of a file.
    package enum Name: String, Sendable, CaseIterable {
        case config = "config.json"
        case generationConfig = "generation_config.json"
        case tokenizer = "tokenizer.json"
        case tokenizerConfig = "tokenizer_config.json"
        case chatTemplate = "chat_template.jinja"

        /// The most bytes of the file.
        fileprivate var limit: Int {
            switch self {
            case .config, .generationConfig, .chatTemplate: 16 << 20
            case .tokenizerConfig: 64 << 20
            case .tokenizer: 1 << 30
            }
        }
    }

    private var contents: [Name: SharedBytes] = [:]

    /// What the files are made of, for messages; nil for those of a folder.
    private let origin: String?

    /// No files yet. `origin` names the file that the texts are made of.
    package init(madeOf origin: String? = nil) { self.origin = origin }

    /// Reads the files that the folder has. They stay in memory, so that later changes of the folder do not reach them.
    /// Throws `.io` if there is no `config.json`.
    package init(folder: String, budget: MemoryBudget? = nil) throws(LLaDAError) {
        origin = nil
        for name in Name.allCases {
            if name == .config || Self.exists(name, in: folder) { try read(name, in: folder, budget) }
        }
    }

    package static func exists(_ name: Name, in folder: String) -> Bool {
        InputFile.exists("\(folder)/\(name.rawValue)")
    }

    /// Reads one file of a folder. Throws `.io`.
    package mutating func read(
        _ name: Name, in folder: String, _ budget: MemoryBudget? = nil
    ) throws(LLaDAError) {
        let path = "\(folder)/\(name.rawValue)"
        contents[name] = try FilePrefix(whole: path, limit: name.limit, budget: budget).shared
    }

    /// Adds a file that no folder has.
    package mutating func add(_ name: Name, _ bytes: SharedBytes) { contents[name] = bytes }

    /// The names of the files, in the order of writing. `config.json` comes last, because a folder without it is no
    /// checkpoint.
    package var names: [Name] { Name.allCases.reversed().filter { contents[$0] != nil } }

    /// Returns what `body` makes of a file's bytes; nil without the file.
    package func withBytes<Result>(
        of name: Name, _ body: (UnsafeRawBufferPointer) throws(LLaDAError) -> Result
    ) throws(LLaDAError) -> Result? {
        guard let shared = contents[name] else { return nil }
        return try withExtendedLifetime(shared.owner) { () throws(LLaDAError) in try body(shared.bytes) }
    }

    /// The bytes of all files.
    package var byteCount: Int { contents.values.reduce(0) { $0 + $1.bytes.count } }

    /// The bytes of a file; 0 without it.
    package func byteCount(of name: Name) -> Int { contents[name]?.bytes.count ?? 0 }

    /// Returns what messages call a file.
    package func label(_ name: Name) -> String { origin.map { "\($0): its \(name.rawValue)" } ?? name.rawValue }

    /// Returns the document in a file; nil without the file.
    package func json(_ name: Name) throws(LLaDAError) -> JSON? {
        guard let shared = contents[name] else { return nil }
        return try JSON.parse(shared, file: label(name))
    }
}
