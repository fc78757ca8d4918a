import Foundation
import LLaDA

extension Report {
    /// A picture: for each number of threads and each prefix, a bar with the times of a step's parts, and below,
    /// generation.
    var plot: String {
        let parts = Observer.Part.allCases.filter { runs[0].steps[0].parts[$0] != nil }
        var drawing = Drawing(texts: [head] + runs.map(machineText))
        drawing.legend(parts.map { ("\($0)", Self.colours[$0] ?? Self.plain) })
        drawing.bars(
            runs.flatMap { run in
                run.steps.map { timing in
                    let limits = parts.compactMap { part in
                        limit(of: part, timing, run).map { String(format: ", %@ %.0f %%", "\(part)", 100 * $0.share) }
                    }.joined()
                    return Drawing.Bar(
                        name: "\(run.name), \(timing.prefix)",
                        pieces: parts.map { (1e3 * median(timing.parts[$0] ?? []), Self.colours[$0] ?? Self.plain) },
                        label: String(
                            format: "%.1f ms%@; prefill %.0f ms", 1e3 * median(timing.step), limits,
                            1e3 * median(timing.prefill)))
                }
            })
        drawing.bars(
            runs.flatMap { run in
                run.generations.map { timing in
                    Drawing.Bar(
                        name: "\(run.name), \(timing.prompt.count), \(timing.policy)",
                        pieces: [(timing.tokensPerSecond, Self.plain)],
                        label: String(
                            format: "%.1f tokens/s, %.2f a forward", timing.tokensPerSecond, timing.tokensPerForward))
                }
            })
        return drawing.svg
    }

    private static let plain = "#2c5f9e"
    private static let colours: [Observer.Part: String] = [
        .attention: "#d9480f", .router: "#f2c14e", .experts: "#2c5f9e", .shared: "#7aa6d9", .dense: "#1b9e77",
        .head: "#8250df",
    ]
}

/// Horizontal bars, group below group. Each group has a scale of its own.
private struct Drawing {
    struct Bar {
        let name: String
        let pieces: [(length: Double, colour: String)]
        let label: String
    }

    private static let (width, left, longest, row) = (1000.0, 210.0, 400.0, 24.0)
    private var y: Double
    private var shapes: [String] = []

    init(texts: [String]) {
        for (index, text) in texts.enumerated() {
            let text = text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
            shapes.append("<text x='10' y='\(18 + 16 * index)' font-size='11' fill='#555'>\(text)</text>")
        }
        y = 16 * Double(texts.count) + 16
    }

    mutating func legend(_ entries: [(name: String, colour: String)]) {
        for (index, entry) in entries.enumerated() {
            let x = Self.left + 90 * Double(index)
            shapes.append("<rect x='\(x)' y='\(y)' width='12' height='12' fill='\(entry.colour)'/>")
            shapes.append("<text x='\(x + 17)' y='\(y + 11)'>\(entry.name)</text>")
        }
        y += Self.row
    }

    mutating func bars(_ bars: [Bar]) {
        let most = bars.map { $0.pieces.reduce(0) { $0 + $1.length } }.max() ?? 1
        for bar in bars {
            var x = Self.left
            shapes.append("<text x='\(x - 8)' y='\(y + 14)' text-anchor='end'>\(bar.name)</text>")
            for piece in bar.pieces {
                let length = Self.longest * piece.length / most
                shapes.append(
                    "<rect x='\(x)' y='\(y)' width='\(length)' height='\(Self.row - 5)' fill='\(piece.colour)'/>")
                x += length
            }
            shapes.append("<text x='\(x + 6)' y='\(y + 14)' font-size='11' fill='#333'>\(bar.label)</text>")
            y += Self.row
        }
        y += Self.row / 2
    }

    var svg: String {
        let size = "width='\(Int(Self.width))' height='\(Int(y))'"
        return
            ([
                "<svg xmlns='http://www.w3.org/2000/svg' \(size) font-family='sans-serif' font-size='12'>",
                "<rect width='100%' height='100%' fill='white'/>",
            ] + shapes + ["</svg>"]).joined(separator: "\n") + "\n"
    }
}
