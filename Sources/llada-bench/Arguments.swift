import Glibc
import LLaDA

/// The command line; main.swift documents it.
struct Arguments {
    var path: String?
    var shape: Shape?
    var layers: Int?
    var threads = [0]
    /// The number of experts that a block may use; 0: as the model says.
    var capacities = [0]
    var prefixes = [512]
    /// The numbers of sequences of a forward; with none, only single sequences are timed.
    var batches: [Int] = []
    var block = 32
    var rounds = 9
    /// The number of tokens to generate; 0: no generation is timed.
    var generate = 0
    var policies = [(name: "Q", policy: Policy.quality)]
    var prompt: String?
    var json: String?
    var plot: String?
    /// The times of other engines' autoregressive decoding, in ms per token.
    var tokenTimes: [Double] = []
    /// The file of decodings that are timed on this model, in place of steps.
    var replay: String?
    /// Whether to print tables of what to expect, in place of timings.
    var expect = false
    /// Whether to time the opening of the folder, in place of steps.
    var open = false
    /// The expected time of a step, as a multiple of its time at the machine's limits.
    var overLimits = 1.0
    /// The processes that the program was started as, by mpiexec; with `expect`, the most machines; 0: one.
    var ranks = 0
    var options = Model.Options()

    /// The formats by name; auto is nil.
    private static let formats = Dictionary(
        uniqueKeysWithValues: [("auto", NumberFormat?.none)]
            + [NumberFormat.f32, .bf16, .int8, .int4].map { ($0.name, $0) })
    private static let presets: [String: Policy] = [
        "S": .speedy, "Q": .quality, "2.0": .lowConfidence, "2.2": .levenshtein,
    ]

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        func wrong(_ text: String) -> LLaDAError { LLaDAError(.invalidArgument, text) }
        while let word = rest.popFirst() {
            func text() throws -> String {
                guard let text = rest.popFirst() else { throw wrong("\(word) wants a value") }
                return text
            }
            func list() throws -> [String] { try text().split(separator: ",").map(String.init) }
            func number(_ text: String, _ least: Int) throws -> Int {
                guard let number = Int(text), number >= least else {
                    throw wrong("\(word) wants a number of at least \(least)")
                }
                return number
            }
            func positive(_ text: String) throws -> Double {
                guard let number = Double(text), number > 0, number.isFinite else {
                    throw wrong("\(word) wants a positive number")
                }
                return number
            }
            /// Returns the numbers of a list, ascending, each once.
            func numbers(_ least: Int) throws -> [Int] { Set(try list().map { try number($0, least) }).sorted() }
            func oneOf<Value>(_ values: [String: Value], _ text: String) throws -> Value {
                guard let value = values[text] else {
                    throw wrong("\(word) wants one of \(values.keys.sorted().joined(separator: ", "))")
                }
                return value
            }
            switch word {
            case "--shape":
                shape = try oneOf(Dictionary(uniqueKeysWithValues: Shape.allCases.map { ($0.rawValue, $0) }), text())
            case "--layers": layers = try number(text(), 1)
            case "--dtype": options.dtype = try oneOf(Self.formats, text())
            case "--kv-dtype": options.kvDType = try oneOf(Self.formats, text())
            case "--expert-capacity": capacities = try numbers(0)
            case "--blas": options.blas = try oneOf(["on": .on, "off": .off], text())
            case "--kernels":
                let kernels = try text()
                _ = try KernelChoice.choose(kernels)
                setenv(KernelChoice.variable, kernels, 1)  // nothing has read it yet
            case "--rounds": rounds = try number(text(), 1)
            case "--threads": threads = try numbers(0)
            case "--prefix": prefixes = try numbers(1)
            case "--batch": batches = try numbers(1)
            case "--block": block = try number(text(), 1)
            case "--generate": generate = try number(text(), 1)
            case "--policy": policies = try list().map { ($0, try oneOf(Self.presets, $0)) }
            case "--prompt": prompt = try text()
            case "--json": json = try text()
            case "--token-ms": tokenTimes = try list().map(positive)
            case "--plot": plot = try text()
            case "--replay": replay = try text()
            case "--expect": expect = true
            case "--open": open = true
            case "--ranks": ranks = try number(text(), 1)
            case "--over-limits": overLimits = try positive(text())
            default:
                if word.hasPrefix("-") {
                    throw wrong("\(word) is no option: see the head of Sources/llada-bench/main.swift")
                }
                path = word
            }
        }
        if open, path == nil { throw wrong("--open wants a FOLDER") }
        if !expect, (path == nil) == (shape == nil) { throw wrong("say which MODEL, or --shape mini|flash") }
        guard let most = threads.last else { throw wrong("--threads wants a number or more") }
        guard let shortest = prefixes.first, shortest >= block else { throw wrong("--prefix must be at least --block") }
        options.threads = threads[0] == 0 ? 0 : most
    }

    func model() throws -> Model {
        if let shape {
            return try Model(try SyntheticTensors(shape, layers: layers), options: options)
        }
        return try Model(path: path ?? "", options: options)
    }

    /// Joins the other ranks; on another rank than 0, returns nil once rank 0 has closed the cluster.
    func cluster() throws -> Cluster? {
        var joining = Cluster.Options()
        joining.initialise = true
        let cluster = try Cluster(joining)
        guard cluster.size == ranks else {
            throw LLaDAError(.invalidArgument, "there are \(cluster.size) ranks: start \(ranks) by mpiexec -n \(ranks)")
        }
        if cluster.rank == 0 { return cluster }
        if let shape {
            let source = try SyntheticTensors(shape, layers: layers)
            try cluster.serve(options: options) { (_, _, _) throws(LLaDAError) in source }
        } else {
            try cluster.serve(path: path, options: options)
        }
        cluster.close()
        return nil
    }
}
