// Times a checkpoint: loading, prefill, and a denoising step on top of a cached prefix.
//
//     swift run -c release llada-bench MODEL [--prefix 512] [--block 32] [--threads 0] [--rounds 9] [--blas on|off]
//
// Medians over rounds. Prints what was run; comparisons belong into one run on a quiet machine.
import Foundation
import LLaDA

struct Arguments {
    var model = ""
    var prefix = 512
    var block = 32
    var rounds = 9
    var options = Model.Options()

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            func value() throws -> Int {
                guard let text = rest.popFirst(), let number = Int(text), number >= 0 else {
                    throw LLaDAError(.invalidArgument, "\(word) wants a number")
                }
                return number
            }
            switch word {
            case "--prefix": prefix = try value()
            case "--block": block = max(1, try value())
            case "--rounds": rounds = max(1, try value())
            case "--threads": options.threads = try value()
            case "--blas": options.blas = rest.popFirst() == "on" ? .on : .off
            default: model = word
            }
        }
        if model.isEmpty { throw LLaDAError(.invalidArgument, "usage: llada-bench MODEL [--prefix N] [--block N] [--threads N] [--rounds N] [--blas on|off]") }
    }
}

func milliseconds(_ body: () throws -> Void) rethrows -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    try body()
    return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e6
}

func report(_ name: String, _ times: [Double], tokens: Int) {
    let median = times.sorted()[times.count / 2]
    let rate = Double(tokens) / median * 1000
    print(String(format: "%@ %10.3f ms   %10.0f tokens/s", name.padding(toLength: 28, withPad: " ", startingAt: 0), median, rate))
}

do {
    var arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
    arguments.options.maskTokenID = 0  // any will do for timing
    var opened: Model?
    let load = try milliseconds { opened = try Model(path: arguments.model, options: arguments.options) }
    guard let model = opened else { exit(1) }
    print("\(arguments.model): \(model.numParameters) parameters, \(model.weightBytes >> 10) KiB, \(model.threads) threads, \(Model.kernelsName)")
    print(String(format: "load %.1f ms", load))

    let prefix = arguments.prefix / arguments.block * arguments.block
    let prompt = (0..<prefix).map { Int32($0 * 31 % (model.config.vocabSize - 1) + 1) }
    var options = Decoder.Options()
    options.blockLength = arguments.block
    options.genLength = arguments.block
    options.eosEarlyStop = false
    var first: [Double] = []
    var step: [Double] = []
    for _ in 0..<arguments.rounds {
        let decoder = try Decoder(model, prompt: prompt, options: options)
        first.append(try milliseconds { try decoder.forward() })
        step.append(try milliseconds { try decoder.forward() })
    }
    report("prefill \(prefix) + \(arguments.block)", first, tokens: prefix + arguments.block)
    report("step of \(arguments.block) on \(prefix)", step, tokens: arguments.block)
} catch {
    FileHandle.standardError.write(Data("llada-bench: \(error)\n".utf8))
    exit(1)
}
