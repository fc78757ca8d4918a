// Times the engine: a denoising step, its parts, and prefill, on a checkpoint or on random weights of a published shape.
//
//     swift run -c release llada-bench MODEL | --shape mini|flash [--layers N]
//         [--precision auto|f32|bf16|int8|int4] [--prefix 512] [--block 32] [--threads 0] [--rounds 9]
//         [--blas on|off] [--json FILE] [--plot FILE.svg]
//
// Medians over rounds, with the machine's bandwidth and arithmetic probed in each. Compare within one run on a quiet machine.
import Foundation
import LLaDA

struct Arguments {
    var path: String?
    var shape: Shape?
    var layers: Int?
    var prefix = 512
    var block = 32
    var rounds = 9
    var json: String?
    var plot: String?
    var options = Model.Options()

    static let precisions: [String: Model.DType] = ["auto": .auto, "f32": .f32, "bf16": .bf16, "int8": .int8, "int4": .int4]

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        func wrong(_ text: String) -> LLaDAError { LLaDAError(.invalidArgument, text) }
        while let word = rest.popFirst() {
            func text() throws -> String {
                guard let text = rest.popFirst() else { throw wrong("\(word) wants a value") }
                return text
            }
            func number(_ least: Int) throws -> Int {
                guard let number = Int(try text()), number >= least else { throw wrong("\(word) wants a number of at least \(least)") }
                return number
            }
            func oneOf<Value>(_ values: [String: Value]) throws -> Value {
                guard let value = values[try text()] else { throw wrong("\(word) wants one of \(values.keys.sorted().joined(separator: ", "))") }
                return value
            }
            switch word {
            case "--shape": shape = try oneOf(Dictionary(uniqueKeysWithValues: Shape.allCases.map { ($0.rawValue, $0) }))
            case "--layers": layers = try number(1)
            case "--precision": options.dtype = try oneOf(Self.precisions)
            case "--prefix": prefix = try number(1)
            case "--block": block = try number(1)
            case "--rounds": rounds = try number(1)
            case "--threads": options.threads = try number(0)
            case "--blas": options.blas = try oneOf(["on": .on, "off": .off])
            case "--json": json = try text()
            case "--plot": plot = try text()
            default:
                if word.hasPrefix("-") { throw wrong("\(word) is no option: see the head of Sources/llada-bench/main.swift") }
                path = word
            }
        }
        if (path == nil) == (shape == nil) { throw wrong("say which MODEL, or --shape mini|flash") }
        if prefix < block { throw wrong("--prefix must be at least --block") }
    }

    func open() throws -> Model {
        if let shape {
            return try Model(
                try SyntheticTensors(shape, layers: layers), options: options, progress: .init(path: "\(shape)", tell: nil))
        }
        return try Model(path: path ?? "", options: options)
    }
}

do {
    let arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
    var opened: Model?
    let load = try seconds { opened = try arguments.open() }
    guard let model = opened else { exit(1) }
    let timing = try Timing(
        model, prefix: arguments.prefix, block: arguments.block, rounds: arguments.rounds)
    let report = Report(timing, load: load, arguments)
    print(report.text)
    if let file = arguments.json { try report.json.write(to: URL(fileURLWithPath: file)) }
    if let file = arguments.plot { try Data(report.plot.utf8).write(to: URL(fileURLWithPath: file)) }
} catch {
    FileHandle.standardError.write(Data("llada-bench: \(error)\n".utf8))
    exit(1)
}
