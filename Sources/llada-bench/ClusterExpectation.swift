import Foundation
import LLaDA

/// What to expect of a step over several machines, as a table in Markdown: a calculation from the published shapes, the
/// form of the messages, and routers that choose at random. Nothing of the exchange is hidden behind the arithmetic.
struct ClusterExpectation {
    private struct Network {
        let name: String
        let bandwidth: Double  // bytes/s, each way
        let latency: Double  // seconds, of a message
    }

    private static let networks = [
        Network(name: "1 Gbit/s", bandwidth: 0.125e9, latency: 50e-6),
        Network(name: "10 Gbit/s", bandwidth: 1.25e9, latency: 20e-6),
        Network(name: "25 Gbit/s", bandwidth: 3.125e9, latency: 10e-6),
        Network(name: "100 Gbit/s", bandwidth: 12.5e9, latency: 5e-6),
    ]
    private static let machineBandwidth = 50e9  // bytes/s
    private static let dtype = NumberFormat.int4
    private static let chunks = 8.0  // of the rows of a layer: see ExpertSums

    private let arguments: Arguments

    init(_ arguments: Arguments) { self.arguments = arguments }

    /// What rank 0 sends and receives in a step, and the seconds that all of it takes.
    private struct Exchange {
        var sent = 0.0
        var received = 0.0
        var seconds = 0.0
    }

    /// Returns the probability that none of the experts of a row is among `count` of all.
    private func noneOf(_ count: Double, _ config: ModelConfig) -> Double {
        let all = Double(config.numExperts)
        return (0..<config.numExpertsPerTok).reduce(1) { $0 * max(0, all - count - Double($1)) / (all - Double($1)) }
    }

    private func exchange(_ config: ModelConfig, machines: Int, _ network: Network) -> Exchange {
        if machines == 1 { return Exchange() }
        let (rows, hidden, k) = (Double(arguments.block), Double(config.hiddenSize), Double(config.numExpertsPerTok))
        let each = Double(config.numExperts) / Double(machines)
        let layers = Double(config.numHiddenLayers - config.firstKDenseReplace)
        let others = Double(machines - 1)
        let visits = others * (1 - noneOf(each, config))  // of a row to other ranks
        let away = rows * (1 - noneOf(each * others, config))
        let prepared = 1.25 * hidden
        let given = others * 64 + rows * visits * (4 + 8 * k + prepared)
        let sums = away * 4 * hidden
        var result = Exchange()
        result.sent = layers * (given + sums)
        result.received = layers * sums
        // The sums go round in chunks, both ways at once.
        let time = given / network.bandwidth + sums / network.bandwidth * (1 + visits / Self.chunks)
        result.seconds = layers * (time + (visits + 2) * network.latency)
        // The head: states to each other rank, and a peak of each tile and row back.
        let states = others * (64 + rows * prepared)
        let tiles = Double((config.vocabSize + 511) / 512) * others / Double(machines)
        let peaks = tiles * rows * Double(MemoryLayout<Peak>.stride)
        result.sent += states
        result.received += peaks
        result.seconds += (states + peaks) / network.bandwidth + 2 * network.latency
        return result
    }

    var text: String {
        get throws {
            var machines = [1]
            while machines[machines.count - 1] * 2 <= arguments.ranks {
                machines.append(machines[machines.count - 1] * 2)
            }
            var lines = [
                "| ms a step | rank 0 sends, receives, MiB | " + Self.networks.map(\.name).joined(separator: " | ")
                    + " |",
                "|---|---|" + String(repeating: "---|", count: Self.networks.count),
            ]
            for shape in Shape.allCases {
                let config = try shape.config(layers: nil)
                let cost = StepCost(config, Self.dtype, .bf16, rows: arguments.block, prefix: arguments.prefixes[0])
                let shared = (cost.parts[.experts]?.bytes ?? 0) + (cost.parts[.head]?.bytes ?? 0)
                for count in machines {
                    let read = (cost.bytes - shared + shared / Double(count)) / Self.machineBandwidth
                    let cells = Self.networks.map { network in
                        let exchange = exchange(config, machines: count, network)
                        return String(format: "%.0f", 1e3 * (arguments.overLimits * read + exchange.seconds))
                    }
                    let traffic = exchange(config, machines: count, Self.networks[0])
                    let bytes =
                        count == 1 ? "" : String(format: "%.1f, %.1f", traffic.sent / 0x1p20, traffic.received / 0x1p20)
                    let name = "\(shape), \(count) machine\(count == 1 ? "" : "s")"
                    lines.append("| \(name) | \(bytes) | " + cells.joined(separator: " | ") + " |")
                }
            }
            return lines.joined(separator: "\n")
        }
    }
}
