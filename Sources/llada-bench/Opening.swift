import Foundation
import LLaDA

/// The time and the memory of opening a checkpoint, part by part, of its first step, of packing and saving it, and of
/// opening what was saved.
final class Opening {
    private struct Part {
        let name: String
        var times: [Double] = []  // seconds, by round
        /// In bytes, in the first round: what the process held after the part, and the most while it ran.
        let memory: Int
        let peak: Int
    }

    private let path: String
    private let options: Model.Options
    private let rounds: Int
    private var parts: [Part] = []
    private var facts = ""
    /// Whether the folder's weights are packed already; then there is nothing to pack.
    private var isPacked = false

    init(_ path: String, _ arguments: Arguments) {
        self.path = path
        options = arguments.options
        rounds = arguments.rounds
    }

    /// Opens the folder round after round, and packs it once for each format.
    func run() throws {
        var stored = options
        stored.dtype = nil
        for round in 1...rounds {
            Self.tell("round \(round) of \(rounds)")
            try open()
            try openWhole(path, stored, "")
        }
        let formats = options.dtype.map { [$0] } ?? [.int8, .int4]
        for format in formats where !isPacked && format.packed != nil {
            Self.tell("packing to \(format.name)")
            try pack(format)
        }
    }

    private func open() throws {
        let files = try time("config and small files") {
            let files = try SideFiles(folder: path)
            _ = try ModelConfig(files)
            return files
        }
        let checkpoint = try time("and headers of shards") { try Checkpoint.open(path) }
        let packed = try PackedFile(checkpoint.metadata, file: Checkpoint.singleFileName.string)
        isPacked = packed != nil
        let team = ThreadTeam(threads: options.threads == 0 ? ThreadTeam.availableThreads : options.threads)
        let weights = try time("weights") {
            try Weights(checkpoint, packed?.dtype, packed, team: team, mapping: options.useMmap)
        }
        let tokenizer = try time("tokenizer") {
            try Tokenizer(files, modelVocabularySize: checkpoint.config.vocabSize)
        }
        let chat = try time("chat template") { try tokenizer.map { try ChatTemplate(files, tokenizer: $0) } }
        withExtendedLifetime((weights, chat)) {}
        facts = String(
            format: "%@, %d layers, %d tensors, %.1f M parameters, %.2f GB of weights", path,
            checkpoint.config.numHiddenLayers, weights.tensors.count, Double(weights.parameters) / 1e6,
            Double(weights.byteCount) / 1e9)
    }

    /// `prefix` goes before the names of the parts.
    private func openWhole(_ path: String, _ options: Model.Options, _ prefix: String) throws {
        let model = try time(prefix + "opening in one call") { try Model(path: path, options: options) }
        let steps = try FirstSteps(model)
        try time(prefix + "the first step") { try steps.step() }
        try time(prefix + "the second step") { try steps.step() }
    }

    private func pack(_ format: NumberFormat) throws {
        let folder = NSTemporaryDirectory() + "llada-bench-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var options = options
        options.dtype = format
        do {
            let model = try time("\(format.name): packing") { try Model(path: path, options: options) }
            Self.tell("saving")
            try time("\(format.name): saving") { try model.save(to: folder) }
        }
        Self.tell("opening what was saved")
        try openWhole(folder, options, "\(format.name), saved: ")
    }

    private func time<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
        ProcessMemory.forgetPeak()
        var result: Result?
        let time = try seconds { result = try body() }
        guard let result else { throw LLaDAError(.io, "\(name) gave nothing") }
        if let index = parts.firstIndex(where: { $0.name == name }) {
            parts[index].times.append(time)
        } else {
            let memory = ProcessMemory()
            parts.append(Part(name: name, times: [time], memory: memory.now, peak: memory.peak))
        }
        return result
    }

    private static func tell(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }

    /// The table. Memory includes mapped pages of files.
    var text: String {
        let rows = parts.map { part in
            [
                part.name, String(format: "%.1f", 1e3 * median(part.times)),
                part.times.count == 1
                    ? "" : String(format: "%.1f to %.1f", 1e3 * (part.times.min() ?? 0), 1e3 * (part.times.max() ?? 0)),
                String(format: "%.0f", Double(part.memory) / 1e6), String(format: "%.0f", Double(part.peak) / 1e6),
            ]
        }
        return facts + "\n\n" + table([["part", "ms", "range", "then holds, MB", "peak, MB"]] + rows)
    }
}

/// A decoder on a short prompt, whose forward can be done again.
private struct FirstSteps {
    private let decoder: Decoder

    init(_ model: Model) throws {
        let random = RandomTokens(model)
        var options = Decoder.Options()
        options.genLength = options.blockLength
        decoder = try Decoder(
            CachedSequence(model.transformer, blockLength: options.blockLength), maskID: random.maskID, eosIDs: [],
            prompt: random.first(options.blockLength), options: options)
    }

    func step() throws { try decoder.forward() }
}

/// What this process holds in memory, files that it has mapped included.
private struct ProcessMemory {
    let now: Int
    /// The most since the last `forgetPeak`.
    let peak: Int

    init() {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        func bytes(_ key: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(key) }
            return (line?.split(separator: " ").compactMap { Int($0) }.first ?? 0) << 10
        }
        now = bytes("VmRSS:")
        peak = bytes("VmHWM:")
    }

    static func forgetPeak() { try? Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/self/clear_refs")) }
}
