import LLaDA
import TestSupport

/// Sequences with noisy versions, and the memory that they and their scores are in.
final class Noise {
    struct Case {
        var tokens: [Int32]
        var noisy: [Int32]
        var versions: Int
        var promptLength: Int
    }

    let cases: [Case]

    init(_ cases: [Case]) { self.cases = cases }

    /// Sequences of tokens below `mask`, of these lengths; noise of all kinds after the prompt, and versions without
    /// any.
    convenience init(lengths: [Int], versions: Int, promptLength: Int, mask: Int32) {
        var state: UInt64 = 1
        func random(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        self.init(
            lengths.map { length in
                let tokens = (0..<length).map { Int32(($0 * 7 + 3) % Int(mask)) }  // they begin alike
                let noisy = (0..<versions).flatMap { version in
                    (0..<length).map { position in
                        let kind = random(10)
                        if position < promptLength || kind >= 2 * version { return tokens[position] }
                        return kind % 4 == 3 ? Int32(random(Int(mask))) : mask
                    }
                }
                return Case(tokens: tokens, noisy: noisy, versions: versions, promptLength: promptLength)
            })
    }

    var total: Int { cases.reduce(0) { $0 + $1.noisy.count } }

    func withSequences<Result>(_ body: ([NoisedSequence]) throws -> Result) rethrows -> Result {
        func next(_ index: Int, _ sequences: [NoisedSequence]) throws -> Result {
            if index == cases.count { return try body(sequences) }
            let one = cases[index]
            return try one.tokens.withUnsafeBufferPointer { tokens in
                try one.noisy.withUnsafeBufferPointer { noisy in
                    try next(
                        index + 1,
                        sequences + [
                            NoisedSequence(
                                tokens: tokens, noisy: noisy, versions: one.versions, promptLength: one.promptLength)
                        ])
                }
            }
        }
        return try next(0, [])
    }

    struct Scores: Equatable {
        var logProbabilities: [Float]
        var predictions: [Int32]
        var confidences: [Float]
        var entropies: [Float]

        static func == (a: Scores, b: Scores) -> Bool {
            a.predictions == b.predictions
                && zip(
                    [a.logProbabilities, a.confidences, a.entropies], [b.logProbabilities, b.confidences, b.entropies]
                )
                .allSatisfy { $0.map(\.bitPattern) == $1.map(\.bitPattern) }
        }

        static func + (a: Scores, b: Scores) -> Scores {
            Scores(
                logProbabilities: a.logProbabilities + b.logProbabilities, predictions: a.predictions + b.predictions,
                confidences: a.confidences + b.confidences, entropies: a.entropies + b.entropies)
        }
    }

    func scores(
        _ model: Model, blockLength: Int, everywhere: Bool = false, progress: Progress? = nil
    ) throws -> Scores {
        var scores = Scores(
            logProbabilities: Array(repeating: 0, count: total), predictions: Array(repeating: 0, count: total),
            confidences: Array(repeating: 0, count: total), entropies: Array(repeating: 0, count: total))
        try scores.logProbabilities.withUnsafeMutableBufferPointer { logProbabilities in
            try scores.predictions.withUnsafeMutableBufferPointer { predictions in
                try scores.confidences.withUnsafeMutableBufferPointer { confidences in
                    try scores.entropies.withUnsafeMutableBufferPointer { entropies in
                        var buffers = ScoreBuffers()
                        buffers.logProbabilities = logProbabilities
                        buffers.predictions = predictions
                        buffers.confidences = confidences
                        buffers.entropies = entropies
                        try withSequences {
                            try model.score(
                                $0, blockLength: blockLength, everywhere: everywhere, into: buffers, progress: progress)
                        }
                    }
                }
            }
        }
        return scores
    }
}

/// A conformance model, opened.
func open(_ name: String, threads: Int = 1, dtype: NumberFormat? = nil) throws -> Model {
    var options = Model.Options()
    options.threads = threads
    options.dtype = dtype
    return try Model(path: Fixture.folder(name), options: options)
}
