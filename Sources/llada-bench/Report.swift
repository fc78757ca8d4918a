import Foundation
import LLaDA

/// The timings as text and JSON; Plot.swift makes the picture.
struct Report {
    let head: String
    let runs: [Bench.Run]
    private let config: ModelConfig
    private let dtype: NumberFormat?
    private let tokenTimes: [Double]
    private let ranks: Int
    private let facts: [String: Any]

    init(_ bench: Bench, load: Double, _ arguments: Arguments) {
        let model = bench.model
        runs = bench.runs
        config = model.config
        dtype = model.dtype
        tokenTimes = arguments.tokenTimes
        ranks = max(arguments.ranks, 1)
        head = String(
            format:
                "%@, %d layers, %@, K/V %@, %@: %.1f M parameters, weights %.1f MiB, peak memory %.1f MiB, load %.1f s",
            arguments.path ?? "random weights of \(arguments.shape!)", config.numHiddenLayers,
            model.dtype?.name ?? "auto",
            model.kvDType.name, Model.kernelsName, Double(model.numParameters) / 1e6,
            Double(model.weightBytes) / 0x1p20,
            Double(Machine.peakMemory) / 0x1p20, load)
        facts = [
            "model": arguments.path ?? "\(arguments.shape!)", "layers": config.numHiddenLayers,
            "block": arguments.block,
            "dtype": model.dtype?.name ?? "auto", "kv_dtype": model.kvDType.name, "kernels": Model.kernelsName,
            "parameters": model.numParameters, "ranks": ranks,
            "weight_bytes": model.weightBytes, "peak_memory_bytes": Machine.peakMemory, "load_ms": 1e3 * load,
        ]
    }

    // MARK: Text

    var text: String {
        ([head] + runs.map(machineText) + ["", table(stepRows)] + exchanges + expectations + breakEven + speedups
            + (runs[0].batches.isEmpty ? [] : ["", table(batchRows)])
            + (runs[0].generations.isEmpty ? [] : ["", table(generationRows)])).joined(separator: "\n")
    }

    func machineText(_ run: Bench.Run) -> String {
        String(
            format: "machine, %@: reads %.1f GB/s (%.1f to %.1f), multiplies %.0f GOP/s", run.name,
            median(run.bandwidth),
            run.bandwidth.min() ?? 0, run.bandwidth.max() ?? 0, median(run.arithmetic))
    }

    /// A line for each number of threads and each prefix, in ms, with the share of the limit that bounds a part.
    private var stepRows: [[String]] {
        let parts = Observer.Part.allCases.filter { runs[0].steps[0].parts[$0] != nil }
        var rows = [["threads", "pool", "prefix", "step, ms"] + parts.map { "\($0)" } + ["prefill, ms"]]
        for run in runs {
            for timing in run.steps {
                let cells = parts.map { part in
                    milliseconds(timing.parts[part] ?? []) + (limit(of: part, timing, run).map { " " + $0.text } ?? "")
                }
                rows.append(
                    ["\(run.team.size)", pool(run), "\(timing.prefix)", milliseconds(timing.step) + range(timing.step)]
                        + cells
                        + [milliseconds(timing.prefill) + range(timing.prefill)])
            }
        }
        return rows
    }

    /// What rank 0 of a cluster exchanges in a step.
    private var exchanges: [String] {
        runs.flatMap { run in
            run.steps.compactMap { timing in
                timing.traffic.map {
                    String(
                        format: "%@ on %d: rank 0 of %d sends %.3f MiB and receives %.3f MiB a step, in %d messages",
                        run.name, timing.prefix, ranks, Double($0.sent) / 0x1p20, Double($0.received) / 0x1p20,
                        $0.messages)
                }
            }
        }
    }

    /// A line for each number of sequences, with the steps per second of all of them, and the ratio to the first line.
    private var batchRows: [[String]] {
        let parts = Observer.Part.allCases.filter { runs[0].batches[0].parts[$0] != nil }
        var rows = [
            ["threads", "pool", "sequences", "forward, ms"] + parts.map { "\($0)" } + [
                "steps/s", "times", "experts, times",
            ]
        ]
        for run in runs {
            let one = run.batches[0]
            for timing in run.batches {
                func gain(_ few: [Double], _ many: [Double]) -> String {
                    let share = Double(timing.count) / Double(one.count)
                    return String(format: "%.2f", median(zip(few, many).map { share * $0 / $1 }))
                }
                rows.append(
                    ["\(run.team.size)", pool(run), "\(timing.count)", milliseconds(timing.step)]
                        + parts.map { milliseconds(timing.parts[$0] ?? []) }
                        + [
                            String(format: "%.2f", timing.stepsPerSecond), gain(one.step, timing.step),
                            gain(one.parts[.experts] ?? [], timing.parts[.experts] ?? []),
                        ])
            }
        }
        return rows
    }

    private var generationRows: [[String]] {
        [["threads", "pool", "policy", "prompt", "tokens", "forwards", "tokens per forward", "edits", "s", "tokens/s"]]
            + runs.flatMap { run in
                run.generations.map {
                    [
                        "\(run.team.size)", pool(run), $0.policy, "\($0.prompt.count)", "\($0.tokens)",
                        "\($0.forwards)",
                        String(format: "%.2f", $0.tokensPerForward), "\($0.edits)",
                        String(format: "%.2f", median($0.seconds)),
                        String(format: "%.2f", $0.tokensPerSecond),
                    ]
                }
            }
    }

    /// The gain of more threads, or fewer experts, beside the gain of the machine's own limits: medians of the rounds'
    /// ratios.
    private var speedups: [String] {
        let one = runs[0]
        return runs.dropFirst().flatMap { run in
            func ratio(_ more: [Double], _ fewer: [Double]) -> Double { median(zip(more, fewer).map { $0 / $1 }) }
            return zip(one.steps, run.steps).map { fewer, more in
                String(
                    format:
                        "%@ against %@ on %d: step %.2f times as fast, prefill %.2f; bandwidth %.2f, arithmetic %.2f",
                    run.name, one.name, more.prefix, ratio(fewer.step, more.step), ratio(fewer.prefill, more.prefill),
                    ratio(run.bandwidth, one.bandwidth), ratio(run.arithmetic, one.arithmetic))
            }
        }
    }

    /// The time that a step would take at the machine's limits, beside the measured time.
    private var expectations: [String] {
        runs.flatMap { run in
            run.steps.map { timing in
                let cost = cost(of: timing)
                let limits = run.limits
                let parts = Observer.Part.allCases.filter { cost.parts[$0] != nil }
                    .map { part in
                        String(format: "%@ %.1f", "\(part)", 1e3 * median(limits.map { cost.seconds(part, $0) }))
                    }
                    .joined(separator: ", ")
                let expected = limits.map { cost.seconds($0) }
                // The ratio is taken within a round: a shared machine's limits change from one round to the next.
                let ratios = zip(timing.step, expected).map { $0 / $1 }
                return String(
                    format: """
                        %@ on %d: %.1f experts a layer; reads %.3g GB, computes %.3g GOP; at the limits %.1f ms (%@), \
                        took %.2f times that (%.2f to %.2f)
                        """,
                    run.name, timing.prefix, timing.expertsUsed, cost.bytes / 1e9, cost.operations / 1e9,
                    1e3 * median(expected), parts,
                    median(ratios), ratios.min() ?? 0, ratios.max() ?? 0)
            }
        }
    }

    /// The number of tokens that a step must yield to be as fast as an engine with these times per token.
    private var breakEven: [String] {
        runs.flatMap { run in
            run.steps.flatMap { timing in
                tokenTimes.map { time in
                    String(
                        format: "%@ on %d: as fast as %.1f ms a token at %.1f tokens a step (%.1f to %.1f)", run.name,
                        timing.prefix, time,
                        1e3 * median(timing.step) / time, 1e3 * (timing.step.min() ?? 0) / time,
                        1e3 * (timing.step.max() ?? 0) / time)
                }
            }
        }
    }

    private func pool(_ run: Bench.Run) -> String {
        let capacity = run.transformer.config.expertCapacity
        return capacity > 0 ? "\(capacity)" : "all"
    }

    private func cost(of timing: StepTiming) -> StepCost {
        StepCost(
            config, dtype, runs[0].transformer.kvDType, rows: timing.block, prefix: timing.prefix,
            experts: timing.expertsUsed > 0 ? timing.expertsUsed : nil)
    }

    private func range(_ times: [Double]) -> String {
        String(format: " (%.0f to %.0f)", 1e3 * (times.min() ?? 0), 1e3 * (times.max() ?? 0))
    }

    private func milliseconds(_ times: [Double]) -> String { String(format: "%.2f", 1e3 * median(times)) }

    // MARK: Roofline

    struct Limit {
        let name: String
        let share: Double
        var text: String { String(format: "(%.0f %% of %@)", 100 * share, name) }
    }

    /// Returns the share of the machine's bandwidth or arithmetic that a part reaches, if one of them bounds it.
    func limit(of part: Observer.Part, _ timing: StepTiming, _ run: Bench.Run) -> Limit? {
        guard let times = timing.parts[part] else { return nil }
        switch part {
        case .experts:
            return Limit(name: "bandwidth", share: timing.expertBytes / median(times) / 1e9 / median(run.bandwidth))
        case .head where median(run.arithmetic) > 0:
            let operations = 2 * Double(timing.block * config.hiddenSize) * Double(config.vocabSize)
            return Limit(name: "arithmetic", share: operations / median(times) / 1e9 / median(run.arithmetic))
        default: return nil
        }
    }

    // MARK: JSON

    var json: Data {
        get throws {
            let values = facts.merging(["runs": runs.map(fields)]) { $1 }
            return try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
        }
    }

    /// Returns the timings of all rounds, in their order.
    private func fields(_ run: Bench.Run) -> [String: Any] {
        func milliseconds(_ times: [Double]) -> [Double] { times.map { 1e3 * $0 } }
        return [
            "threads": run.team.size, "expert_capacity": run.transformer.config.expertCapacity,
            "bandwidth_gb_s": run.bandwidth,
            "arithmetic_gop_s": run.arithmetic, "float_arithmetic_gflop_s": run.floatArithmetic,
            "steps": run.steps.map { timing -> [String: Any] in
                let cost = cost(of: timing)
                return [
                    "bytes_sent": timing.traffic?.sent ?? 0, "bytes_received": timing.traffic?.received ?? 0,
                    "messages": timing.traffic?.messages ?? 0, "prefix": timing.prefix, "step_bytes": cost.bytes,
                    "step_operations": cost.operations,
                    "step_at_limits_ms": milliseconds(run.limits.map { cost.seconds($0) }),
                    "step_ms": milliseconds(timing.step), "prefill_ms": milliseconds(timing.prefill),
                    "parts_ms": Dictionary(
                        uniqueKeysWithValues: timing.parts.map { ($0.key.rawValue, milliseconds($0.value)) }),
                    "experts_used": timing.expertsUsed,
                ]
            },
            "batches": run.batches.map { timing -> [String: Any] in
                [
                    "sequences": timing.count, "prefix": timing.prefix, "forward_ms": milliseconds(timing.step),
                    "parts_ms": Dictionary(
                        uniqueKeysWithValues: timing.parts.map { ($0.key.rawValue, milliseconds($0.value)) }),
                ]
            },
            "generations": run.generations.map { timing -> [String: Any] in
                [
                    "policy": timing.policy, "prompt": timing.prompt.count, "tokens": timing.tokens,
                    "forwards": timing.forwards,
                    "edits": timing.edits, "tokens_per_forward": timing.tokensPerForward,
                    "ms": milliseconds(timing.seconds),
                ]
            },
        ]
    }
}

/// Lays out rows in columns.
func table(_ rows: [[String]]) -> String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        zip(row, widths).map { String(repeating: " ", count: $1 - $0.count) + $0 }.joined(separator: "  ")
    }.joined(separator: "\n")
}
