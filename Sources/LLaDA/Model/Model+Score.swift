extension Model {
    /// The share of a forward's time before its logits are judged.
    private static let forwardShare = 0.8
    /// The number of rows that are judged between two reports of progress: with the vocabulary of LLaDA2.x, some tenths
    /// of a second on two cores.
    private static let judgedAtOnce = 64

    /// Judges noisy versions of sequences, all blocks of a version at once (spec: training.md, "Concatenated mask"). It
    /// scores each position after the prompt whose noisy token is not the sequence's own, masked or wrong; with
    /// `everywhere`, it scores every position after the prompt.
    ///
    /// Clean blocks run once for all versions, and once for all sequences that begin with them. `progress` receives the
    /// part done, from 0 to 1, before each layer of each forward of about 512 positions, and as their logits are
    /// judged. An error that it throws ends the call and is rethrown. After any error on the way, the buffers hold a
    /// part of the results. Throws `.invalidArgument` for a sequence or block length out of range, `.bufferTooSmall`,
    /// `.numeric` for weights that give NaN or infinities, and `.outOfMemory`.
    public func score(
        _ sequences: [NoisedSequence], blockLength: Int = 32, everywhere: Bool = false, into out: ScoreBuffers,
        progress: Progress? = nil
    ) throws(LLaDAError) {
        try config.check(blockLength: blockLength, canvas: 0)
        // Lists of blocks, of rows and of what is wanted of them, in arrays that double.
        let positions = sequences.reduce(0) { $0 + $1.tokens.count + $1.noisy.count }
        let room = try Reserve.Room(256 * (sequences.count + positions))
        defer { room.close() }
        var starts: [Int] = []  // where each sequence's positions begin in the buffers
        var total = 0
        for (index, sequence) in sequences.enumerated() {
            try sequence.check(config, index: index)
            starts.append(total)
            total += sequence.noisy.count
        }
        try out.check(total)
        out.clear(total)
        let plan = NoisyCleanPlan(sequences, blockLength: blockLength) { number, version, position in
            let sequence = sequences[number]
            return position >= sequence.promptLength
                && (everywhere || sequence.noisyToken(version, position) != sequence.tokens[position])
        }
        var pass = NoisyCleanPass(transformer, plan, sequences, everywhere: everywhere)
        var statistics = TokenStatistics(compute: transformer.compute, wantsEntropy: out.entropies != nil)
        var done = 0.0  // rows
        for blocks in plan.forwards {
            try Reserve.check()
            let before = done
            let result = try pass.run(blocks) { (rows) throws(LLaDAError) in
                try progress?((before + Self.forwardShare * rows) / Double(plan.rowCount))
            }
            done += Self.forwardShare * Double(result.rowCount)
            let judgedShare = (1 - Self.forwardShare) * Double(result.rowCount) / Double(result.wanted.count)
            for first in stride(from: 0, to: result.wanted.count, by: Self.judgedAtOnce) {
                let piece = first..<min(first + Self.judgedAtOnce, result.wanted.count)
                let wanted = Array(result.wanted[piece])
                try statistics.judge(
                    result.logits.slice(piece), targets: wanted.map(\.token), positions: wanted.map(\.position)
                ) { row, found in
                    let wanted = wanted[row]
                    let place =
                        starts[wanted.sequence] + wanted.version * sequences[wanted.sequence].tokens.count
                        + wanted.position
                    out.logProbabilities?[place] = Float(found.logProbability)
                    out.predictions?[place] = found.prediction
                    out.confidences?[place] = found.confidence
                    out.entropies?[place] = Float(found.entropy)
                }
                if piece.upperBound == result.wanted.count { break }
                try progress?((done + judgedShare * Double(piece.upperBound)) / Double(plan.rowCount))
            }
            done = before + Double(result.rowCount)
            try progress?(done / Double(plan.rowCount))
        }
    }
}
