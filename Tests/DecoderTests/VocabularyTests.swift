import Foundation
import LLaDA
import TestSupport
import Testing

/// Predictions are made tile by tile of the vocabulary and never see a whole row: here against softmax over the row.
@Suite struct VocabularyTests {
    private static let vocab = 1300  // three tiles, the last cut short
    private static let mask: Int32 = 1299

    private func decoder(_ rows: [[Float]], _ policy: Policy? = nil, _ script: Script? = nil) throws -> Decoder {
        var options = Decoder.Options()
        options.policy = policy
        options.blockLength = rows.count
        options.genLength = rows.count
        let script = try script ?? Self.script(rows)
        return try Decoder(
            CachedSequence(script, blockLength: rows.count), maskID: Self.mask, eosIDs: [0], prompt: [],
            options: options)
    }

    private static func script(_ rows: [[Float]]) throws -> Script {
        try Script(logits: vocab, threads: 2) { _, position, _ in rows[position] }
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

    /// Candidates against a sort of the whole row: asked for before the forward, after it, alone or beside others, and
    /// with a temperature; with bans, biases and ties.
    @Test(arguments: [0, 1, 3, 8, 700], [Float(0), 0.8])
    func candidatesAreTheBestOfTheRow(_ kept: Int, _ temperature: Float) throws {
        var rows = logits(6)
        for token in stride(from: 3, to: 1290, by: 100) { rows[1][token] = 9.5 }  // ties over tiles
        rows[2] = [Float](repeating: 1, count: Self.vocab)
        var policy = Policy.quality
        policy.temperature = temperature
        let script = try Self.script(rows)
        let decoder = try decoder(rows, policy, script)
        try decoder.keepCandidates(kept)
        for token in 0..<700 { try decoder.ban(Int32(token), at: 3, true) }
        try decoder.setLogitBias(of: 11, at: 4, to: 30)
        try decoder.forward()
        func expected(_ position: Int, _ count: Int) -> [Int32] {
            var row = rows[position]
            if position == 4 { row[11] += 30 }
            let left = row.indices.filter { position != 3 || $0 >= 700 }
            return left.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }.prefix(count).map { Int32($0) }
        }
        func check(_ decoder: Decoder, _ position: Int, _ count: Int) throws {
            let found = try decoder.candidates(at: position, count: count)
            #expect(found.map(\.token) == expected(position, count), "\(position), \(count)")
            let sum = try decoder.candidates(at: position, count: Self.vocab).reduce(0.0) {
                $0 + Double($1.probability)
            }
            #expect(abs(sum - 1) < 1e-4)
            if temperature == 0, count > 0 {
                #expect(try found[0].probability == decoder.predictions?.confidences[position])
            }
        }
        for (position, count) in [(5, 1), (2, 8), (0, 3), (3, 2), (1, 9), (4, 5), (3, 2000), (2, 0), (5, 40), (0, 8)] {
            try check(decoder, position, count)
        }
        // In a batch, beside a decoder that keeps others, and in a fork; after a ban that makes predictions anew.
        let (fork, other) = (try decoder.fork(), try self.decoder(rows, nil, script))
        try other.keepCandidates(2)
        try DecoderBatch.forward([other, fork])
        for position in 0..<6 {
            try check(fork, position, 8)
            if position != 3, position != 4 {
                #expect(try other.candidates(at: position, count: 2).map(\.token) == expected(position, 2))
            }
        }
        let best = expected(0, 1)[0]
        try fork.ban(best, at: 0, true)
        #expect(try fork.candidates(at: 0, count: 1)[0].token == expected(0, 2)[1])
        #expect(try decoder.candidates(at: 0, count: 1)[0].token == best)
        expectRefusal(.invalidArgument, ["1025", "1024"]) { try decoder.keepCandidates(1025) }
    }

    /// Logits that are asked for one by one, in any order, are those of the row.
    @Test func logitsOfSomeRows() throws {
        let rows = logits(9)
        let decoder = try decoder(rows)
        try decoder.forward()
        for position in [4, 8, 0, 5, 3, 1, 7, 2, 6, 4] {
            #expect(Array(try decoder.logits(at: position)) == rows[position])
        }
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
