import Foundation
import LLaDA
import Probes

/// What to expect of a machine for the published shapes, as tables in Markdown. Everything follows from the shapes,
/// except this CPU's arithmetic, which is probed.
struct Expectation {
    private struct Row {
        let shape: Shape
        let dtype: NumberFormat
        let capacity: Int  // the experts of a block's pool; 0: all

        var name: String { "\(shape) \(dtype)" + (capacity > 0 ? ", pool of \(capacity)" : "") }
    }

    private static let rows: [Row] = Shape.allCases.flatMap { shape in
        [(NumberFormat.int4, 0), (.int4, 48), (.int8, 0), (.bf16, 0)].map {
            Row(shape: shape, dtype: $0.0, capacity: $0.1)
        }
    }
    private static let bandwidths = [25.0, 50, 100, 200, 400]  // GB/s
    private static let bandwidthOfACore = 12.5  // GB/s per core; most machines have more cores for their bandwidth
    private static let tokensPerForward = [2.0, 4, 6]

    /// G(FL)OP/s of a core.
    private let arithmetic: [NumberFormat: Double]
    private let floatArithmetic: Double
    private let overLimits: Double
    private let block: Int
    private let prefix: Int

    init(_ arguments: Arguments) throws {
        let team = ThreadTeam(threads: 0)
        func core(_ kind: probe_kind) -> Double {
            median((0..<9).map { _ in Machine.arithmetic(team, kind) }) / Double(team.size)
        }
        floatArithmetic = core(PROBE_F32)
        let int8 = core(PROBE_INT8)
        // Without such instructions, the kernels multiply in f32.
        let least = floatArithmetic
        arithmetic = [.int4: int8, .int8: int8, .bf16: core(PROBE_BF16)].mapValues { max($0, least) }
        overLimits = arguments.overLimits
        block = arguments.block
        prefix = arguments.prefixes[0]
    }

    private func cost(_ row: Row, rows: Int) throws -> StepCost {
        var config = try row.shape.config(layers: nil)
        config.expertCapacity = row.capacity
        return StepCost(config, row.dtype, .bf16, rows: rows, prefix: prefix)
    }

    private func limits(_ row: Row, bandwidth: Double) -> StepCost.Limits {
        let cores = bandwidth / Self.bandwidthOfACore
        return StepCost.Limits(
            bandwidth: bandwidth, arithmetic: cores * (arithmetic[row.dtype] ?? floatArithmetic),
            floatArithmetic: cores * floatArithmetic, scoreArithmetic: cores * (arithmetic[.bf16] ?? floatArithmetic))
    }

    var text: String {
        get throws {
            let rates = String(
                format: """
                    A core of this CPU: %.0f GOP/s int8, %.0f GFLOP/s bf16, %.0f GFLOP/s f32; one to %.1f GB/s. Blocks \
                    of %d on a prefix of %d; a step takes %.2f times as long as at these limits.
                    """, arithmetic[.int8] ?? 0, arithmetic[.bf16] ?? 0, floatArithmetic, Self.bandwidthOfACore, block,
                prefix, overLimits)
            return try [rates, readings, speeds].joined(separator: "\n\n")
        }
    }

    /// The table of bytes and operations, which depend on no machine.
    private var readings: String {
        get throws {
            var lines = [
                [
                    "", "weights, GB", "a step reads, GB", "of it experts", "a step computes, GOP",
                    "one token alone reads, GB",
                ]
            ]
            for row in Self.rows {
                let step = try cost(row, rows: block)
                let config = try row.shape.config(layers: nil)
                lines.append(
                    [row.name]
                        + [
                            StepCost.weights(config, row.dtype) / 1e9, step.bytes / 1e9,
                            (step.parts[.experts]?.bytes ?? 0) / 1e9,
                            step.operations / 1e9, try cost(row, rows: 1).bytes / 1e9,
                        ].enumerated().map { String(format: $0 == 3 ? "%.0f" : "%.2f", $1) })
            }
            return Self.markdown(lines)
        }
    }

    /// The table of tokens per second by bandwidth and tokens per forward.
    private var speeds: String {
        get throws {
            let each = Self.tokensPerForward.map { String(format: "%.0f", $0) }.joined(separator: " / ")
            var lines = [
                ["tokens/s at TPF \(each)"] + Self.bandwidths.map { String(format: "%.0f GB/s", $0) } + [
                    "breaks even at TPF"
                ]
            ]
            for row in Self.rows {
                let step = try cost(row, rows: block)
                let token = try cost(row, rows: 1)
                let cells = Self.bandwidths.map { bandwidth in
                    let time = overLimits * step.seconds(limits(row, bandwidth: bandwidth))
                    return Self.tokensPerForward.map { String(format: $0 / time < 10 ? "%.1f" : "%.0f", $0 / time) }
                        .joined(separator: " / ")
                }
                // The comparison is with autoregressive decoding of the same weights at the same limits. It is the same
                // at each bandwidth, because the rates are in proportion to it.
                let even = limits(row, bandwidth: Self.bandwidths[0])
                lines.append([row.name] + cells + [String(format: "%.1f", step.seconds(even) / token.seconds(even))])
            }
            return Self.markdown(lines)
        }
    }

    private static func markdown(_ rows: [[String]]) -> String {
        let lines = rows.map { "| " + $0.joined(separator: " | ") + " |" }
        return ([lines[0], "|" + String(repeating: "---|", count: rows[0].count)] + lines.dropFirst()).joined(
            separator: "\n")
    }
}
