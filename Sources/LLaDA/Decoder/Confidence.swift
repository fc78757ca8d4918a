import Kernels

/// A predictor: it turns the logits of each active position into a token and the model's confidence in it.
package struct Confidence {
    let compute: Compute
    let vocabSize: Int

    private var rowScratch: Scratch<Float>  // [threads, vocab]
    private var drawScratch: Scratch<WeighedToken>  // [threads, vocab]

    package init(compute: Compute, vocabSize: Int) {
        self.compute = compute
        self.vocabSize = vocabSize
        rowScratch = Scratch(in: compute.budget)
        drawScratch = Scratch(in: compute.budget)
    }

    /// Finds the most likely token of each row and its probability. Throws `.cancelled`, without predictions, if one of
    /// `cancellations` was requested, and `.numeric` if logits are not finite.  tokens, confidences: [adjust.count]
    package func predict(
        _ source: some LogitSource, adjust: [LogitAdjustment], room: Int = 0, cancellations: [Cancellation] = [],
        _ work: Workspace, tokens: UnsafeMutablePointer<Int32>, confidences: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let rows = adjust.count
        let peaks = try work.peaks.reserve(2 * source.tiles * max(rows, room))  // `alternatives` needs twice as many
        let kernels = compute.kernels
        try source.findPeaks(adjust, room: room, into: peaks) { (tiles) throws(LLaDAError) in
            try source.forEachTile(
                rows: rows, room: room, of: tiles, compute.team, &work.logits,
                isStopped: { cancellations.contains(where: \.isRequested) }
            ) { tile, row, logits, _ in
                let vocabulary = source.vocabulary(ofTile: tile)
                adjust[row].apply(to: logits, vocabulary)
                peaks[tile * rows + row] = Peak(logits, vocabulary, kernels)
            }
        }
        try Cancellation.check(cancellations)
        for row in 0..<rows {
            let peak = Peak(peaks, tiles: source.tiles, row: row, of: rows)
            try peak.check(position: adjust[row].position)
            (tokens[row], confidences[row]) = (peak.prediction, peak.confidence)
        }
    }

    /// Finds, for some of the rows, the most likely token without those of `without`, and its probability in the
    /// distribution with them. The token is -1 if all are left out. Throws `.numeric` if logits are not finite.
    /// adjust: [all rows];  tokens, probabilities: [rows.count]
    func alternatives(
        _ source: FinalStates, rows: Range<Int>, adjust: [LogitAdjustment], without: [Int32], room: Int,
        _ work: Workspace, tokens: UnsafeMutablePointer<Int32>, probabilities: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let (count, tiles) = (rows.count, source.tiles)
        let peaks = try work.peaks.reserve(2 * tiles * max(count, room))
        let others = peaks + tiles * count
        let kernels = compute.kernels
        let some = source.slice(rows)
        try some.forEachTile(rows: count, room: room, compute.team, &work.logits) { tile, row, logits, _ in
            let vocabulary = some.vocabulary(ofTile: tile)
            adjust[rows.lowerBound + row].apply(to: logits, vocabulary)
            peaks[tile * count + row] = Peak(logits, vocabulary, kernels)
            for token in without where vocabulary.contains(Int(token)) {
                logits[Int(token) - vocabulary.lowerBound] = -.infinity
            }
            others[tile * count + row] = Peak(logits, vocabulary, kernels)
        }
        for row in 0..<count {
            let peak = Peak(peaks, tiles: tiles, row: row, of: count)
            try peak.check(position: adjust[rows.lowerBound + row].position)
            let other = Peak(others, tiles: tiles, row: row, of: count)
            tokens[row] = other.isSound ? other.prediction : -1
            probabilities[row] = other.isSound ? peak.probability(of: other) : .nan
        }
    }

    /// Draws a token for each row. The confidence is the token's probability in the distribution it was drawn from.
    /// `uniform` gives each row its random number. With `states`, only masks are drawn, the others get their most
    /// likely token, and confidences are those without temperature, top-k and top-p. Throws `.numeric` if logits are
    /// not finite. logits: [adjust.count, vocab];  tokens, confidences: [adjust.count]
    mutating func draw(
        _ sampler: Sampler, logits: UnsafePointer<Float>, adjust: [LogitAdjustment], uniform: (Int) -> Double,
        states: UnsafePointer<UInt8>? = nil, tokens: UnsafeMutablePointer<Int32>,
        confidences: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        let scratch = try rowScratch.reserve(compute.team.size * vocabSize)
        let draws = try drawScratch.reserve(compute.team.size * vocabSize)
        let (vocabSize, kernels) = (vocabSize, compute.kernels)
        compute.team.forEach(adjust.count) { index, worker in
            var row = logits + index * vocabSize
            guard FiniteCheck.isFinite(row, LLK_F32, vocabSize) else {
                confidences[index] = .nan  // the check below names the first such row
                return
            }
            if !adjust[index].isEmpty {
                let copy = scratch + worker * vocabSize
                copy.update(from: row, count: vocabSize)
                adjust[index].apply(to: copy, 0..<vocabSize)
                row = UnsafePointer(copy)
            }
            let isDrawn = states.map { $0[index] == Decoder.PositionState.masked.rawValue } ?? true
            if isDrawn {
                (tokens[index], confidences[index]) = sampler.draw(
                    row, vocab: vocabSize, uniform: uniform(index), draws + worker * vocabSize)
                if states == nil { return }
            }
            var sum: Float = 0
            let best = kernels.argmax_sum_exp(row, vocabSize, &sum)
            if !isDrawn { tokens[index] = Int32(best) }
            confidences[index] = llk_expf(row[Int(tokens[index])] - row[best]) / sum
        }
        for (index, adjustment) in adjust.enumerated() where confidences[index].isNaN {
            try Peak.check(logits + index * vocabSize, vocabSize, position: adjustment.position)
        }
    }

    /// Returns the `count` most likely tokens of one row, best first, ties by lower id; fewer if the others are banned.
    /// logits: [vocab]
    func candidates(_ logits: UnsafePointer<Float>, _ adjustment: LogitAdjustment, count: Int) throws(LLaDAError)
        -> [Decoder
        .Candidate]
    {
        // Lists of ids, and what sorting them takes.
        let room = try Reserve.Room(count > 64 ? 64 * vocabSize : 0)
        defer { room.close() }
        let copy = try Buffer<Float>(count: vocabSize)
        copy.pointer.update(from: logits, count: vocabSize)
        adjustment.apply(to: copy.pointer, 0..<vocabSize)
        var sum: Float = 0
        let best = copy.pointer[compute.kernels.argmax_sum_exp(copy.pointer, vocabSize, &sum)]
        let row = UnsafeBufferPointer(start: copy.pointer, count: vocabSize)
        return withExtendedLifetime(copy) {
            let ids: [Int]
            if count > 64 {
                ids = row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }
            } else {
                var largest = [Int32](repeating: 0, count: count)
                let found = Router.largest(count, of: row, into: &largest)
                ids = largest[..<found].map { Int($0) }
            }
            return ids.prefix(count).filter { row[$0] > -.infinity }.map { id in
                Decoder.Candidate(token: Int32(id), logit: row[id], probability: llk_expf(row[id] - best) / sum)
            }
        }
    }
}
