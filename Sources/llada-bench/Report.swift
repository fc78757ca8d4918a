import Foundation
import LLaDA

/// What a timing says, as text, JSON and a picture.
struct Report {
    private let lines: [Line]
    private let head: String
    private let values: [String: Any]

    private struct Line {
        let name: String
        let milliseconds: Double
        /// What bounds it, the rate reached and the machine's.
        var limit: (name: String, unit: String, reached: Double, most: Double)?

        var text: String {
            let time = String(format: "%@ %9.2f ms", name.padding(toLength: 26, withPad: " ", startingAt: 0), milliseconds)
            guard let limit else { return time }
            return time + String(
                format: "   %6.1f of %6.1f %@, %3.0f %% of the %@", limit.reached, limit.most, limit.unit,
                100 * limit.reached / limit.most, limit.name)
        }
    }

    init(_ timing: Timing, load: Double, _ arguments: Arguments) {
        let model = timing.model
        let step = median(timing.step)
        let prefill = median(timing.prefill)
        let bandwidth = median(timing.bandwidth)
        let arithmetic = median(timing.arithmetic)
        var lines = [
            Line(name: "step of \(timing.block) on \(timing.prefix)", milliseconds: 1e3 * step),
            Line(name: "prefill of \(timing.prefix)", milliseconds: 1e3 * prefill),
        ]
        for part in Observer.Part.allCases {
            guard let times = timing.parts[part] else { continue }
            let time = median(times)
            var line = Line(name: "  \(part)", milliseconds: 1e3 * time)
            switch part {
            case .experts: line.limit = ("memory", "GB/s", median(timing.expertBytes) / time / 1e9, bandwidth)
            case .head where arithmetic > 0: line.limit = ("arithmetic", "GOP/s", timing.headOperations / time / 1e9, arithmetic)
            default: break
            }
            lines.insert(line, at: lines.count - 1)
        }
        self.lines = lines
        let gib = Double(1 << 30)
        head = String(
            format: "%@, %d layers, %@, %d threads, %@: %.2f G parameters, weights %.2f GiB, peak memory %.2f GiB, load %.1f s\nmachine: reads %.1f GB/s (%.1f to %.1f), multiplies %.0f GOP/s",
            arguments.path ?? "random weights of \(arguments.shape!)", model.config.numHiddenLayers, "\(arguments.options.dtype)",
            model.threads, Model.kernelsName, Double(model.numParameters) / 1e9, Double(model.weightBytes) / gib,
            Double(Machine.peakMemory) / gib, load, bandwidth, timing.bandwidth.min() ?? 0, timing.bandwidth.max() ?? 0, arithmetic)
        values = [
            "model": arguments.path ?? "\(arguments.shape!)", "layers": model.config.numHiddenLayers,
            "precision": "\(arguments.options.dtype)", "threads": model.threads, "kernels": Model.kernelsName,
            "prefix": timing.prefix, "block": timing.block, "weight_bytes": model.weightBytes,
            "peak_memory_bytes": Machine.peakMemory, "load_ms": 1e3 * load, "bandwidth_gb_s": timing.bandwidth,
            "arithmetic_gop_s": timing.arithmetic, "step_ms": timing.step.map { 1e3 * $0 },
            "prefill_ms": timing.prefill.map { 1e3 * $0 },
            "parts_ms": Dictionary(uniqueKeysWithValues: timing.parts.map { ($0.key.rawValue, $0.value.map { 1e3 * $0 }) }),
        ]
    }

    var text: String { ([head] + lines.map(\.text)).joined(separator: "\n") }

    var json: Data { get throws { try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys]) } }

    /// Horizontal bars of time, and beside them the share of the machine's limit.
    var plot: String {
        let (left, width, row) = (190.0, 420.0, 26.0)
        let longest = lines.map(\.milliseconds).max() ?? 1
        var svg = ["<svg xmlns='http://www.w3.org/2000/svg' width='860' height='\(Int(row) * lines.count + 64)' font-family='sans-serif' font-size='13'>",
                   "<rect width='100%' height='100%' fill='white'/>"]
        for (index, text) in head.split(separator: "\n").enumerated() {
            svg.append("<text x='10' y='\(18 + 16 * index)' font-size='11' fill='#555'>\(text)</text>")
        }
        for (index, line) in lines.enumerated() {
            let y = 48 + row * Double(index)
            let length = max(1, width * line.milliseconds / longest)
            let colour = line.name.hasPrefix(" ") ? "#7aa6d9" : "#2c5f9e"
            svg.append("<text x='\(left - 8)' y='\(y + 15)' text-anchor='end'>\(line.name)</text>")
            svg.append("<rect x='\(left)' y='\(y)' width='\(length)' height='\(row - 6)' fill='\(colour)'/>")
            var label = String(format: "%.1f ms", line.milliseconds)
            if let limit = line.limit { label += String(format: ", %.0f %% of the %@", 100 * limit.reached / limit.most, limit.name) }
            svg.append("<text x='\(left + length + 6)' y='\(y + 15)' fill='#333'>\(label)</text>")
        }
        return (svg + ["</svg>"]).joined(separator: "\n") + "\n"
    }
}
