import Foundation
import LLaDA

/// A model that follows a script: logits as a function of the canvas.
final class Script: Denoiser {
    let vocabSize: Int
    /// (tokens up to the end of the active positions, position, is the window one block) to the token it would write
    /// and the probability it gives it.
    private let answer: ([Int32], Int, Bool) -> (token: Int32, probability: Double)
    private(set) var windows: [Range<Int>] = []
    private var rows: [[Float]] = []

    init(vocabSize: Int, _ answer: @escaping ([Int32], Int, Bool) -> (Int32, Double)) {
        self.vocabSize = vocabSize
        self.answer = answer
    }

    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) throws(LLaDAError) -> Int {
        if asOneBlock { windows.append(active) }
        let seen = Array(tokens[..<active.upperBound])
        rows = active.map { position in
            let (token, probability) = answer(seen, position, asOneBlock)
            let rest = log((1 - probability) / Double(vocabSize - 1))
            return (0..<vocabSize).map { Float($0 == Int(token) ? log(probability) : rest) }
        }
        return 0
    }

    func logits(_ range: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        copy(Array(rows[range]), vocabulary, out, stride)
    }

    let computedPositions = 0
    let reusedPositions = 0
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int) {}
    func reset() {}
    func fork(_ cancellation: Cancellation) -> any Denoiser { self }
}

/// A model that says the same whatever stands on the canvas.
final class Fixed: Denoiser {
    let vocabSize: Int
    let rows: [[Float]]
    init(_ rows: [[Float]]) {
        self.rows = rows
        vocabSize = rows[0].count
    }
    func forward(_ tokens: UnsafeBufferPointer<Int32>, active: Range<Int>, asOneBlock: Bool) -> Int { 0 }
    func logits(_ range: Range<Int>, _ vocabulary: Range<Int>, into out: UnsafeMutablePointer<Float>, stride: Int) {
        copy(Array(rows[range]), vocabulary, out, stride)
    }
    let computedPositions = 0
    let reusedPositions = 0
    func finish(_ tokens: UnsafeBufferPointer<Int32>, settled: Int) {}
    func reset() {}
    func fork(_ cancellation: Cancellation) -> any Denoiser { self }
}

private func copy(_ rows: [[Float]], _ vocabulary: Range<Int>, _ out: UnsafeMutablePointer<Float>, _ stride: Int) {
    for (index, row) in rows.enumerated() {
        for (column, id) in vocabulary.enumerated() { out[index * stride + column] = row[id] }
    }
}

let mask: Int32 = 15
let end: Int32 = 14

func decoder(
    _ script: Script, prompt: [Int32] = [1], blockLength: Int = 4, genLength: Int = 7, early: Bool = false,
    infill: Bool = false, _ policy: Policy
) throws -> Decoder {
    var options = Decoder.Options()
    options.blockLength = blockLength
    options.genLength = genLength
    options.eosEarlyStop = early
    options.infill = infill
    options.policy = policy
    return try Decoder(
        script, compute: Compute(team: ThreadTeam(threads: 1)), maskID: mask, eosIDs: [end], prompt: prompt,
        options: options)
}
