import Foundation
import LLaDA
import TestSupport
import Testing

/// Predictions are made tile by tile of the vocabulary and never see a whole row: here against softmax over the row.
@Suite struct VocabularyTests {
    private static let vocab = 1300  // three tiles, the last cut short
    private static let mask: Int32 = 1299

    private func decoder(_ rows: [[Float]]) throws -> Decoder {
        var options = Decoder.Options()
        options.blockLength = rows.count
        options.genLength = rows.count
        let script = try Script(logits: Self.vocab, threads: 2) { _, position, _ in rows[position] }
        return try Decoder(
            CachedSequence(script, blockLength: rows.count), maskID: Self.mask, eosIDs: [0], prompt: [],
            options: options)
    }

    private func logits(_ rows: Int) -> [[Float]] {
        var random = SystemRandomNumberGenerator()
        return (0..<rows).map { _ in (0..<Self.vocab).map { _ in Float.random(in: -9...9, using: &random) } }
    }

    private func expect(_ decoder: Decoder, _ rows: [[Float]], without banned: Set<Int> = []) throws {
        let predictions = try #require(try decoder.predictions)
        for (index, row) in rows.enumerated() {
            let left = row.indices.filter { !banned.contains($0) }
            let best = try #require(left.max { row[$0] != row[$1] ? row[$0] < row[$1] : $0 > $1 })
            let sum = left.reduce(0.0) { $0 + exp(Double(row[$1]) - Double(row[best])) }
            #expect(predictions.tokens[index] == Int32(best))
            #expect(abs(Double(predictions.confidences[index]) - 1 / sum) < 1e-5 / sum)
        }
    }

    @Test func isWholeAlthoughSeenInTiles() throws {
        var rows = logits(4)
        rows[1][700] = 9.5
        rows[1][20] = 9.5  // a tie over tiles: the lower id
        rows[2][1298] = 60
        let decoder = try decoder(rows)
        try decoder.forward()
        try expect(decoder, rows)
        for position in 0..<4 { #expect(Array(try decoder.logits(at: position)) == rows[position]) }
    }

    @Test func aTileThatIsAllBannedIsNotMissed() throws {
        let rows = logits(4)
        let decoder = try decoder(rows)
        let banned = Set(0..<512).union([513, 900, 1024])
        for token in banned where token != 0 { try decoder.ban(Int32(token), at: nil, true) }
        try decoder.ban(0, at: nil, true)
        try decoder.forward()
        try expect(decoder, rows, without: banned)
    }

    @Test func aLogitThatIsNotFiniteIsAnError() throws {
        for (value, isFaulty) in [(Float.nan, true), (.infinity, true), (-.infinity, false), (3e38, false)] {
            var rows = logits(2)
            rows[1][1100] = value
            let compute = Compute(team: ThreadTeam(threads: 2))
            let confidence = Confidence(compute: compute, vocabSize: Self.vocab)
            let tokens = try Buffer<Int32>(count: 2)
            let confidences = try Buffer<Float>(count: 2)
            func predict(banned: [Int32]) throws {
                try confidence.predict(
                    Rows(rows: rows),
                    adjust: [LogitAdjustment(position: 6), LogitAdjustment(position: 7, banned: banned)],
                    Workspace(), tokens: tokens.pointer, confidences: confidences.pointer)
            }
            if isFaulty {
                expectRefusal(.numeric, ["position 7"]) { try predict(banned: []) }
                // A ban takes the token out, whatever its logit is.
                try predict(banned: [1100])
            } else {
                try predict(banned: [])
            }
            #expect(!confidences.pointer[0].isNaN && !confidences.pointer[1].isNaN)
        }
    }

    /// Logits that are at hand.
    private struct Rows: LogitSource {
        let rows: [[Float]]
        var vocabSize: Int { rows[0].count }

        func logits(_ rows: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
            for (index, row) in rows.enumerated() {
                for (column, token) in vocabulary.enumerated() { out[index * stride + column] = self.rows[row][token] }
            }
        }
    }
}
