// Times the engine on a checkpoint or on random weights of a published shape: a denoising step, its parts, prefill,
// generation.
//
//     swift run -c release llada-bench MODEL | --shape mini|flash [--layers N]
//         [--dtype auto|f32|bf16|int8|int4] [--kv-dtype auto|f32|bf16] [--blas on|off] [--rounds 9] [--block 32]
//         [--kernels avx512|avxvnni|avx2|i8mm|neon|portable]          as LLADA_KERNELS in the environment
//         [--threads 0] [--expert-capacity 0] [--prefix 512]          take lists: --threads 1,2 --prefix 512,2048,8192
//         [--batch 1,2,4,8,16]                                        sequences of a forward, each on the first prefix
//         [--generate TOKENS [--policy Q] [--prompt TEXT]]            --policy S,Q,2.0,2.2 takes a list
//         [--token-ms MS] [--json FILE] [--plot FILE.svg]             --token-ms 20,40: other engines' time for a token
//     swift run -c release llada-bench --open FOLDER [--dtype int8|int4] [--rounds 9] [--threads 0]
//     mpiexec -n 2 llada-bench --ranks 2 …                        the same over a cluster
//     swift run -c release llada-bench MODEL | --shape mini|flash ... --replay FILE [--prefix 512] [--rounds 9]
//     swift run -c release llada-bench --expect [--over-limits 1] [--prefix 512] [--block 32] [--ranks 8]
//
// A step denoises one block on a prefix of random tokens. --generate denoises an answer of TOKENS tokens: to --prompt,
// if the model has a tokenizer, else on each prefix. An answer of random weights has no end, and takes a forward or
// more for each token.
//
// --open times the opening of a folder, part by part, its first step, packing to --dtype (without it, to int8 and to
// int4), saving, and the opening of what was saved, which is in the system's folder for temporary files meanwhile. Each
// comes with the memory that the process held afterwards and at most, pages of mapped files included.
//
// --replay times decodings of which FILE has the rows of each forward, on the first prefix, in turns:
// examples/evaluation/refresh.py writes it. So small models that decode as they were trained say what the forwards of a
// large one would be.
//
// --expect times nothing. It prints what a step of the published shapes reads and computes, and how long that takes on
// machines of several bandwidths, if a step takes --over-limits times as long as at their limits. Timings are printed
// beside the same calculation.
//
// --ranks RANKS spreads the experts over as many processes, which mpiexec has started, and prints what a step sends and
// receives. All of them want --threads, if they share a machine; rank 0 prints. With --expect, it prints what a step
// takes on several numbers of machines, over several networks.
//
// Results are medians over rounds, and their range. A round goes through all numbers of threads and all pools of
// experts, so that they meet the same machine, and probes its bandwidth and arithmetic at each. Prefill of 32768 takes
// minutes: use fewer rounds for it.
import Foundation
import LLaDA

do {
    var arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
    if arguments.expect {
        print(try arguments.ranks > 0 ? ClusterExpectation(arguments).text : Expectation(arguments).text)
        exit(0)
    }
    var cluster: Cluster?
    if arguments.ranks > 0 {
        cluster = try arguments.cluster()
        if cluster == nil { exit(0) }
        arguments.options.cluster = cluster
    }
    if arguments.open, let path = arguments.path {
        let opening = Opening(path, arguments)
        try opening.run()
        print(opening.text)
        exit(0)
    }
    var opened: Model?
    let load = try seconds { opened = try arguments.model() }
    guard let model = opened else { exit(1) }
    if let path = arguments.replay {
        var replay = try Replay(path, arguments)
        try replay.run(model)
        print(replay.text)
        exit(0)
    }
    var bench = try Bench(model, arguments)
    try bench.run()
    let report = Report(bench, load: load, arguments)
    print(report.text)
    cluster?.close()
    if let file = arguments.json { try report.json.write(to: URL(fileURLWithPath: file)) }
    if let file = arguments.plot { try Data(report.plot.utf8).write(to: URL(fileURLWithPath: file)) }
} catch {
    FileHandle.standardError.write(Data("llada-bench: \(error)\n".utf8))
    exit(1)
}
