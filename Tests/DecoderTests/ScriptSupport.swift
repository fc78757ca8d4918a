import Foundation
import Kernels
import LLaDA

/// A model that follows a script. Where a model keeps keys, it keeps tokens, and what stands on the canvas it reads
/// from its pages, as attention would: so scripts see what the cache makes of a canvas, alone or in a batch.
final class Script: Denoiser, @unchecked Sendable {
    let config: ModelConfig
    let compute: Compute
    let kvDType = NumberFormat.f32
    let fingerprint = ModelFingerprint(words: [0, 0])
    /// A forward costs more than its rows.
    let cost = {
        var cost = ForwardCost(machine: .init(bandwidth: 1, arithmetic: 1))
        cost.layers = 1
        return cost
    }()
    /// Windows that were run as one block, in their order.
    private(set) var windows: [Range<Int>] = []
    /// Whether a forward is to be stopped when it has written its keys; asked once in each.
    var isStopped: () -> Bool = { false }
    /// (the tokens that a row sees, position, is the window one block) to the row's logits.
    private let answer: ([Int32], Int, Bool) -> [Float]

    init(logits vocabSize: Int, threads: Int = 1, _ answer: @escaping ([Int32], Int, Bool) -> [Float]) throws {
        let text = """
            {"model_type": "llada2_moe", "hidden_size": 2, "num_hidden_layers": 1, "first_k_dense_replace": 1,
             "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 1,
             "vocab_size": \(vocabSize), "rms_norm_eps": 1e-6, "rope_theta": 10000,
             "partial_rotary_factor": 1.0, "rotary_dim": 2,
             "max_position_embeddings": 65536}
            """
        config = try ModelConfig(try JSON.parse(Array(text.utf8), file: "config.json"))
        compute = Compute(team: ThreadTeam(threads: threads))
        self.answer = answer
    }

    /// The same by the token that a row would write and the probability it gives it.
    convenience init(vocabSize: Int, _ answer: @escaping ([Int32], Int, Bool) -> (Int32, Double)) throws {
        try self.init(logits: vocabSize) { tokens, position, isWindow in
            let (token, probability) = answer(tokens, position, isWindow)
            let rest = log(max(1 - probability, 1e-30) / Double(vocabSize - 1))
            return (0..<vocabSize).map { Float($0 == Int(token) ? log(probability) : rest) }
        }
    }

    func forward(_ work: Workspace, observer: Observer?, into memory: StateMemory) throws(LLaDAError) -> FinalStates {
        let batch = work.batch
        for row in batch.rows {
            let table = batch.tables[row.sequence]
            let key: [Float] = [Float(row.token), 0]
            table[row.position / table.blockLength].write(
                key, key, layer: 0, head: 0, slot: row.position % table.blockLength)
        }
        if isStopped() { throw LLaDAError(.cancelled, "stopped by the script") }
        var logits: [[Float]] = []
        for run in batch.runs where batch.rows[run.lowerBound].wantsLogits {
            let (first, table) = (batch.rows[run.lowerBound], batch.tables[batch.rows[run.lowerBound].sequence])
            let seen = (0..<first.visibleEnd).map { position in
                Int32(table[position / table.blockLength].keys(layer: 0, head: 0)[position % table.blockLength])
            }
            let isWindow = run.count > table.blockLength
            if isWindow { windows.append(first.position..<first.visibleEnd) }
            logits += run.map { answer(seen, batch.rows[$0].position, isWindow) }
        }
        return try states(logits)
    }

    func finalStates(_ values: Buffer<Float>, rows: Int) throws(LLaDAError) -> FinalStates {
        throw LLaDAError(.unsupported, "a script has no states")
    }

    /// States that are these logits: the head is the identity.
    private func states(_ logits: [[Float]]) throws(LLaDAError) -> FinalStates {
        let width = config.vocabSize
        let values = try Buffer<Float>(count: max(logits.count, 1) * width)
        let head = try Buffer<Float>(count: width * width)
        for token in 0..<width {
            for other in 0..<width { head.pointer[token * width + other] = other == token ? 1 : 0 }
        }
        for (row, logits) in logits.enumerated() {
            for (token, value) in logits.enumerated() { values.pointer[row * width + token] = value }
        }
        let matrix = Matrix(
            base: UnsafeRawPointer(head.pointer), layout: .rows(LLK_F32), outputs: width, inputs: width, owner: head)
        return try FinalStates(values, rows: logits.count, head: matrix, compute)
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
        CachedSequence(script, blockLength: blockLength), maskID: mask, eosIDs: [end], prompt: prompt, options: options)
}
