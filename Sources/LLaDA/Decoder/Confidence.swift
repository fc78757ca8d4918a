import Kernels

/// A predictor: it turns the logits of each active position into a token and the model's confidence in it.
package struct Confidence {
    let compute: Compute
    let vocabSize: Int

    package init(compute: Compute, vocabSize: Int) {
        self.compute = compute
        self.vocabSize = vocabSize
    }

    /// Receives what was judged of a row, the `row`-th of `best`.
    package typealias Judged = (_ row: Int, _ peak: Peak, _ best: BestTokens) throws(LLaDAError) -> Void

    /// Finds the most likely token of each row and its probability. `each` receives the `best` most likely tokens of
    /// one row after the other, if any are wanted. Throws `.cancelled`, without predictions, if one of `cancellations`
    /// was requested, and `.numeric` if logits are not finite.  tokens, confidences: [adjust.count]
    package func predict(
        _ source: some LogitSource, adjust: [LogitAdjustment], best: Int = 0, room: Int = 0,
        cancellations: [Cancellation] = [], _ work: Workspace, tokens: UnsafeMutablePointer<Int32>,
        confidences: UnsafeMutablePointer<Float>, each: Judged = { (_, _, _) throws(LLaDAError) in }
    ) throws(LLaDAError) {
        try judge(
            source, rows: adjust.count, adjust: adjust, best: best, room: room, cancellations: cancellations, work
        ) { (row, peak, best) throws(LLaDAError) in
            (tokens[row], confidences[row]) = (peak.prediction, peak.confidence)
            if let best { try each(row, peak, best) }
        }
    }

    /// Finds the `count` most likely tokens of some rows of a source, whose adjustments begin with that of `first`.
    /// Throws `.numeric` if logits are not finite.
    func candidates(
        _ source: some LogitSource, rows: Int, first: Int, adjust: [LogitAdjustment], count: Int, _ work: Workspace,
        each: Judged
    ) throws(LLaDAError) {
        try judge(source, rows: rows, first: first, adjust: adjust, best: count, room: 0, cancellations: [], work) {
            (row, peak, best) throws(LLaDAError) in
            if let best { try each(row, peak, best) }
        }
    }

    /// Judges rows of a source, whose adjustments begin with that of `first`, and gathers the `best` most likely tokens
    /// of each. `each` is called for one row after the other, once all are judged.
    private func judge(
        _ source: some LogitSource, rows: Int, first: Int = 0, adjust: [LogitAdjustment], best count: Int, room: Int,
        cancellations: [Cancellation], _ work: Workspace,
        each: (_ row: Int, _ peak: Peak, _ best: BestTokens?) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        let peaks = try work.peaks.reserve(2 * source.tiles * max(rows, room))  // `alternatives` needs twice as many
        let best = try gathering(count, rows: rows, room: room, work)
        let kernels = compute.kernels
        func pass(_ tiles: UnsafeBufferPointer<Int>?) throws(LLaDAError) {
            try source.forEachTile(
                rows: rows, room: room, of: tiles, compute.team, &work.logits,
                isStopped: { cancellations.contains(where: \.isRequested) }
            ) { tile, row, worker, logits, _ in
                let vocabulary = source.vocabulary(ofTile: tile)
                adjust[first + row].apply(to: logits, vocabulary)
                let peak = Peak(logits, vocabulary, kernels)
                peaks[tile * rows + row] = peak
                best?.add(logits, vocabulary, largest: peak.logit, row: row, worker: worker)
            }
        }
        // Other ranks find peaks, and nothing else.
        if best == nil, rows == adjust.count {
            try source.findPeaks(adjust, room: room, into: peaks, here: pass)
        } else {
            try pass(nil)
        }
        try Cancellation.check(cancellations)
        for row in 0..<rows {
            let peak = Peak(peaks, tiles: source.tiles, row: row, of: rows)
            try peak.check(position: adjust[first + row].position)
            try each(row, peak, best)
        }
    }

    private func gathering(
        _ count: Int, rows: Int, room: Int, _ work: Workspace
    ) throws(LLaDAError) -> BestTokens? {
        if count == 0 { return nil }
        return try BestTokens(count, rows: rows, room: room, workers: compute.team.size, work)
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
        try some.forEachTile(rows: count, room: room, compute.team, &work.logits) { tile, row, _, logits, _ in
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
    /// likely token, and confidences are those without temperature, top-k and top-p. `best` and `each` are as for
    /// `predict`. Throws `.numeric` if logits are not finite.  logits: [adjust.count, vocab];
    /// tokens, confidences: [adjust.count]
    func draw(
        _ sampler: Sampler, logits: StoredLogits, adjust: [LogitAdjustment], best count: Int, room: Int,
        uniform: (Int) -> Double, states: UnsafePointer<UInt8>? = nil, _ work: Workspace,
        tokens: UnsafeMutablePointer<Int32>, confidences: UnsafeMutablePointer<Float>, each: Judged
    ) throws(LLaDAError) {
        let (vocabSize, kernels, rows) = (vocabSize, compute.kernels, adjust.count)
        let size = SamplerMemory.size(vocabSize: vocabSize)
        let words = try work.draws.reserve(compute.team.size * size)
        let peaks = try work.peaks.reserve(2 * logits.tiles * max(rows, room))
        let best = try gathering(count, rows: rows, room: room, work)
        compute.team.forEach(rows) { index, worker in
            let memory = SamplerMemory(words + worker * size, vocabSize: vocabSize)
            var row = logits.values + index * vocabSize
            if best != nil || states != nil || !adjust[index].isEmpty {
                memory.row.update(from: row, count: vocabSize)
                adjust[index].apply(to: memory.row, 0..<vocabSize)
                row = UnsafePointer(memory.row)
            }
            if best != nil || states != nil {
                peaks[index] = Peak(row, of: logits, kernels) { tile, vocabulary, peak in
                    best?.add(tile, vocabulary, largest: peak.logit, row: index, worker: worker)
                }
            }
            let isDrawn = states.map { $0[index] == Decoder.PositionState.masked.rawValue } ?? true
            if isDrawn {
                (tokens[index], confidences[index]) = sampler.draw(row, uniform: uniform(index), memory, kernels)
                if states == nil { return }
            } else {
                tokens[index] = peaks[index].prediction
            }
            let token = Int(tokens[index])
            var logit = logits.values[index * vocabSize + token]
            adjust[index].apply(to: &logit, token..<token + 1)
            confidences[index] = peaks[index].isSound ? peaks[index].probability(of: logit) : .nan
        }
        for (index, adjustment) in adjust.enumerated() {
            if confidences[index].isNaN { throw Peak.error(position: adjustment.position) }
            if let best { try each(index, peaks[index], best) }
        }
    }
}

extension Peak {
    /// Finds the peak of a whole row as it is found in tiles, and calls `each` with every tile.
    fileprivate init(
        _ row: UnsafePointer<Float>, of source: StoredLogits, _ kernels: llk_kernels,
        each: (_ tile: UnsafePointer<Float>, _ vocabulary: Range<Int>, _ peak: Peak) -> Void
    ) {
        self.init(row, source.vocabulary(ofTile: 0), kernels)
        each(row, source.vocabulary(ofTile: 0), self)
        for tile in 1..<max(source.tiles, 1) {
            let vocabulary = source.vocabulary(ofTile: tile)
            let peak = Peak(row + vocabulary.lowerBound, vocabulary, kernels)
            each(row + vocabulary.lowerBound, vocabulary, peak)
            join(peak)
        }
    }
}
