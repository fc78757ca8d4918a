import Foundation
import LLaDA
import Testing

/// One decoding run of the reference implementation; the folder's README says what the keys mean.
package struct Run: Decodable, Sendable {
    package struct Parameters: Decodable, Sendable {
        package var threshold: Float?
        package var steps: Int?
        package var minimal_topk: Int?
        package var editing_threshold: Float?
        package var edit_threshold: Float?
        package var max_post_steps: Int?
        package var max_post_edit_steps: Int?
        package var num_to_transfer: Int?
        package var penalty_lambda: Float?
    }

    package let algo: String
    package let id: String
    package let block_length: Int
    package let gen_length: Int
    package let mask_id: Int32
    package let eos_id: Int32?
    package let eos_ids: [Int32]?
    package let eos_early_stop: Bool?
    package let params: Parameters
    package let prompt: [Int32]
    package let output: [Int32]
    package let canvas: [Int32]?
    package let committed: [Int32]?
    package let forwards: Int
    package let tie_ambiguous: Bool?
    package let tie_lowest_index_output: [Int32]?
    /// What is added to the logits of tokens, by their numbers.
    package let logit_boost: [String: Float]?
    package let per_block_forwards: [Int]?
    private let blocks: [Block]?
    private let steps: Inputs?
    /// In place of what the run says.
    package var override: Policy?

    private enum CodingKeys: String, CodingKey {
        case algo, id, block_length, gen_length, mask_id, eos_id, eos_early_stop, params, prompt, output, canvas,
            committed
        case forwards, tie_ambiguous, tie_lowest_index_output, eos_ids, logit_boost, per_block_forwards, blocks, steps
    }

    /// A block of a Levenshtein run.
    private struct Block: Decodable, Sendable {
        struct Step: Decodable, Sendable { let input: [Int32] }
        let steps: [Step]
    }

    /// The block that each forward of a block saw, where a run has it in this form.
    private struct Inputs: Decodable, Sendable {
        let blocks: [[[Int32]]]?
        init(from decoder: any Swift.Decoder) throws {
            blocks = try? decoder.singleValueContainer().decode([[[Int32]]].self)
        }
    }

    /// What each forward of a Levenshtein run saw of its block.
    package var inputs: [[Int32]] { blocks?.flatMap { $0.steps.map(\.input) } ?? steps?.blocks?.flatMap { $0 } ?? [] }

    package static let models = ["gqa_group", "mha_nogroup", "mini_like"]
    /// The model whose runs delete and insert.
    package static let edits = "block_route"
    package static let allModels = models + [edits]
    package var ends: [Int32] { eos_ids ?? eos_id.map { [$0] } ?? [] }
    package var isIndel: Bool { algo == "sglang_JointThresholdInDel" }
    package var isLevenshtein: Bool { isIndel || algo.hasPrefix("lev22") }
    package static func all(_ model: String) throws -> [Run] {
        try JSONDecoder().decode(
            [Run].self, from: Data(contentsOf: URL(fileURLWithPath: "\(Fixture.folder(model))/decode.json")))
    }

    package var isReference: Bool { algo == "hf20" || algo == "hf21" }

    package var policy: Policy {
        var policy = Policy(algo == "hf20" || algo == "sglang_LowConfidence" ? .lowConfidence : .jointThreshold)
        if algo == "sglang_LowConfidence" { policy.steps = block_length }
        if algo == "sglang_JointThreshold" { (policy.threshold, policy.editingThreshold) = (0.5, 0) }
        if isLevenshtein { policy = .levenshtein }
        if isIndel { policy.variant = .indel }
        if let value = params.threshold { policy.threshold = value }
        if let value = params.steps { policy.steps = value }
        if let value = params.minimal_topk { policy.minimalTopk = value }
        if let value = params.editing_threshold ?? params.edit_threshold { policy.editingThreshold = value }
        if let value = params.max_post_steps ?? params.max_post_edit_steps { policy.maxPostSteps = value }
        if let value = params.num_to_transfer { policy.numToTransfer = value }
        if let value = params.penalty_lambda { policy.penaltyLambda = value }
        return policy
    }

    package var options: Decoder.Options {
        var options = Decoder.Options()
        options.blockLength = block_length
        options.genLength = gen_length
        options.eosEarlyStop = eos_early_stop ?? false
        options.policy = override ?? policy
        return options
    }

    package func model(threads: Int = 1, kvDType: NumberFormat? = nil) throws -> Model {
        var options = Model.Options()
        options.maskTokenID = mask_id
        options.eosTokenIDs = ends
        options.threads = threads
        options.kvDType = kvDType
        return try Model(path: Fixture.folder(String(id.split(separator: "/")[0])), options: options)
    }

    /// A decoder of the run, with its biases.
    package func decoder(_ model: Model, _ change: (inout Decoder.Options) -> Void = { _ in }) throws -> Decoder {
        var options = options
        change(&options)
        let decoder = try model.decoder(prompt: prompt, options: options)
        for (token, bias) in logit_boost ?? [:] {
            try decoder.setLogitBias(of: try #require(Int32(token)), at: nil, to: bias)
        }
        return decoder
    }
}
