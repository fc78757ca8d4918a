import Foundation
import LLaDA

/// What decodings of another model would take on this one: their forwards, with as many rows, on random tokens behind a
/// prefix. examples/evaluation/refresh.py writes the numbers.
struct Replay {
    /// A decoding: its tokens, and of each forward the rows that ran and those that were judged. Up to a block's length
    /// the rows are of one block; a whole block more is one that ran along, before it or behind it.
    private struct Course: Decodable {
        let name: String
        let tokens: Double
        let forwards: [[Int]]
        var seconds: [Double]? = []
    }

    private var courses: [Course]
    private let prefix: Int
    private let block: Int
    private let rounds: Int

    init(_ path: String, _ arguments: Arguments) throws {
        courses = try JSONDecoder().decode([Course].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        block = arguments.block
        prefix = arguments.prefixes[0] / block * block
        rounds = arguments.rounds
        let (most, block) = (2 * block, block)
        let isSound = courses.allSatisfy { course in
            course.tokens > 0
                && course.forwards.allSatisfy { $0.count == 2 && 0...most ~= $0[0] && 0...block ~= $0[1] }
        }
        guard isSound else {
            throw LLaDAError(.invalidArgument, "\(path): a forward is not of 0 to \(most) rows, 0 to \(block) judged")
        }
    }

    /// Times all decodings, in turns.
    mutating func run(_ model: Model) throws {
        let transformer = model.transformer
        let tokens = RandomTokens(model).first(prefix + 2 * block)
        let sequence = CachedSequence(transformer, blockLength: block)
        sequence.expect(positions: prefix + 2 * block, window: block, rider: block, keepsRows: true)
        let confidence = Confidence(compute: transformer.compute, vocabSize: transformer.config.vocabSize)
        let work = try transformer.compute.workspaces.take()
        defer { transformer.compute.workspaces.giveBack(work) }
        try tokens.withUnsafeBufferPointer { tokens in
            let active = prefix..<prefix + block
            for _ in 0..<2 { try sequence.prepare(tokens, active: active, asOneBlock: false).run() }
            for round in 1...rounds {
                for index in courses.indices {
                    let forwards = courses[index].forwards
                    let time = try seconds {
                        for numbers in forwards {
                            try forward(rows: numbers[0], sequence, tokens, active)
                            try judge(rows: numbers[1], sequence, confidence, work)
                        }
                    }
                    courses[index].seconds = (courses[index].seconds ?? []) + [time]
                }
                FileHandle.standardError.write(Data("round \(round) of \(rounds)\n".utf8))
            }
        }
    }

    private func forward(
        rows: Int, _ sequence: CachedSequence, _ tokens: UnsafeBufferPointer<Int32>, _ active: Range<Int>
    ) throws {
        if rows == 0 { return }
        let own = rows > block ? rows - block : rows
        // Spread over the block.
        let selection = own == block ? nil : (0..<block).map { $0 * own / block != ($0 + 1) * own / block }
        let rider = rows > block ? active.upperBound..<active.upperBound + block : 0..<0
        try sequence.prepare(
            tokens, active: active, asOneBlock: false, selection: selection, rider: rider, keepsInexact: true
        ).run()
    }

    private func judge(
        rows: Int, _ sequence: CachedSequence, _ confidence: Confidence, _ work: Workspace
    ) throws {
        guard rows > 0, let states = sequence.states else { return }
        try confidence.predict(
            states.slice(0..<rows), adjust: Array(repeating: LogitAdjustment(), count: rows), work,
            tokens: work.tokens.reserve(rows), confidences: work.confidences.reserve(rows))
    }

    /// A table. What follows another decoding of the same name, but for a word, is compared with it round by round.
    var text: String {
        var lines = [
            "| decoding | tokens | forwards | tokens a forward | rows a token | ms a token | tokens/s | times faster |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for (index, course) in courses.enumerated() {
            let run = course.forwards.filter { $0[0] > 0 }
            let rows = run.reduce(0) { $0 + $1[0] }
            let times = (course.seconds ?? []).map { 1000 * $0 / course.tokens }
            var ratio = ""
            if index > 0, course.name.hasPrefix(courses[index - 1].name) {
                let before = courses[index - 1]
                let ratios = zip(before.seconds ?? [], course.seconds ?? []).map {
                    $0 / before.tokens / ($1 / course.tokens)
                }
                ratio = Self.range(ratios, "%.2f")
            }
            lines.append(
                "| \(course.name) | \(Int(course.tokens)) | \(run.count) "
                    + String(
                        format: "| %.2f | %.1f ", course.tokens / Double(run.count), Double(rows) / course.tokens)
                    + "| \(Self.range(times, "%.1f")) " + String(format: "| %.1f ", 1000 / median(times))
                    + "| \(ratio) |")
        }
        return lines.joined(separator: "\n")
    }

    private static func range(_ values: [Double], _ format: String) -> String {
        guard let least = values.min(), let most = values.max() else { return "" }
        let (middle, low, high) = (
            String(format: format, median(values)), String(format: format, least), String(format: format, most)
        )
        return "\(middle) (\(low)–\(high))"
    }
}
