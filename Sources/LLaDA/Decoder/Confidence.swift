import Kernels

/// From logits to predictions: for each active position the token and how sure the model is of it.
struct Confidence {
    let compute: Compute
    let vocabSize: Int

    /// What a row's logits go through before they are judged: tokens taken out, and one made less likely.
    struct Adjustment {
        var banned: [Int32] = []
        var penalty: (token: Int32, amount: Float)?

        var isEmpty: Bool { banned.isEmpty && penalty == nil }

        func apply(to row: UnsafeMutablePointer<Float>) {
            if let penalty { row[Int(penalty.token)] -= penalty.amount }
            for token in banned { row[Int(token)] = -.infinity }
        }
    }

    /// tokens, confidences: [rows];  logits: [rows, vocab];  scratch: [threads, vocab]
    /// With a sampler, confidence is that of the token drawn in the distribution it was drawn from; `uniform` gives each
    /// row its number.
    func predict(
        _ logits: UnsafePointer<Float>, rows: Int, adjust: [Adjustment], scratch: UnsafeMutablePointer<Float>,
        sampler: Sampler?, uniform: (Int) -> Double,
        tokens: UnsafeMutablePointer<Int32>, confidences: UnsafeMutablePointer<Float>
    ) {
        compute.team.forEach(rows) { index, worker in
            var row = logits + index * vocabSize
            if !adjust[index].isEmpty {
                let copy = scratch + worker * vocabSize
                copy.update(from: row, count: vocabSize)
                adjust[index].apply(to: copy)
                row = UnsafePointer(copy)
            }
            if let sampler {
                (tokens[index], confidences[index]) = sampler.draw(row, vocab: vocabSize, uniform: uniform(index))
            } else {
                var sum: Float = 0
                tokens[index] = Int32(compute.kernels.argmax_sum_exp(row, nil, vocabSize, &sum))
                confidences[index] = 1 / sum  // softmax at the arg-max
            }
        }
    }

    /// The `count` most likely tokens of one row, best first, ties by lower id; fewer if the others are banned.
    func candidates(_ logits: UnsafePointer<Float>, _ adjustment: Adjustment, count: Int) throws(LLaDAError) -> [Decoder.Candidate] {
        let copy = try Buffer<Float>(count: vocabSize)
        copy.pointer.update(from: logits, count: vocabSize)
        adjustment.apply(to: copy.pointer)
        var sum: Float = 0
        let best = copy.pointer[compute.kernels.argmax_sum_exp(copy.pointer, nil, vocabSize, &sum)]
        let row = UnsafeBufferPointer(start: copy.pointer, count: vocabSize)
        return withExtendedLifetime(copy) {
            let ids = count > 64 ? row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 } : Router.largest(count, of: Array(row))
            return ids.prefix(count).filter { row[$0] > -.infinity }.map { id in
                Decoder.Candidate(token: Int32(id), logit: row[id], probability: llk_expf(row[id] - best) / sum)
            }
        }
    }
}
