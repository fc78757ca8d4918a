import Foundation
import LLaDA
import Testing

/// One decoding run of the reference implementation; the folder's README says what the keys mean.
struct Run: Decodable, Sendable {
    struct Parameters: Decodable, Sendable {
        var threshold: Float?
        var steps: Int?
        var minimal_topk: Int?
        var editing_threshold: Float?
        var edit_threshold: Float?
        var max_post_steps: Int?
        var max_post_edit_steps: Int?
        var num_to_transfer: Int?
        var penalty_lambda: Float?
    }

    let algo: String
    let id: String
    let block_length: Int
    let gen_length: Int
    let mask_id: Int32
    let eos_id: Int32
    let eos_early_stop: Bool?
    let params: Parameters
    let prompt: [Int32]
    let output: [Int32]
    let canvas: [Int32]?
    let committed: [Int32]?
    let forwards: Int
    let tie_ambiguous: Bool?
    let tie_lowest_index_output: [Int32]?
    /// In place of what the run says.
    var override: Policy?

    private enum CodingKeys: String, CodingKey {
        case algo, id, block_length, gen_length, mask_id, eos_id, eos_early_stop, params, prompt, output, canvas,
            committed
        case forwards, tie_ambiguous, tie_lowest_index_output
    }

    static let models = ["gqa_group", "mha_nogroup", "mini_like"]
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/conformance")

    static func folder(_ model: String) -> String { root.appending(path: model).path }

    static func all(_ model: String) throws -> [Run] {
        try JSONDecoder().decode([Run].self, from: Data(contentsOf: root.appending(path: "\(model)/decode.json")))
    }

    var isReference: Bool { algo == "hf20" || algo == "hf21" }

    var policy: Policy {
        var policy = Policy(algo == "hf20" || algo == "sglang_LowConfidence" ? .lowConfidence : .jointThreshold)
        if algo == "sglang_LowConfidence" { policy.steps = block_length }
        if algo == "sglang_JointThreshold" { (policy.threshold, policy.editingThreshold) = (0.5, 0) }
        if let value = params.threshold { policy.threshold = value }
        if let value = params.steps { policy.steps = value }
        if let value = params.minimal_topk { policy.minimalTopk = value }
        if let value = params.editing_threshold ?? params.edit_threshold { policy.editingThreshold = value }
        if let value = params.max_post_steps ?? params.max_post_edit_steps { policy.maxPostSteps = value }
        if let value = params.num_to_transfer { policy.numToTransfer = value }
        if let value = params.penalty_lambda { policy.penaltyLambda = value }
        return policy
    }

    var options: Decoder.Options {
        var options = Decoder.Options()
        options.blockLength = block_length
        options.genLength = gen_length
        options.eosEarlyStop = eos_early_stop ?? false
        options.policy = override ?? policy
        return options
    }

    func model(threads: Int = 1, keyValues: Model.DType = .auto) throws -> Model {
        var options = Model.Options()
        options.maskTokenID = mask_id
        options.eosTokenID = eos_id
        options.threads = threads
        options.kvDType = keyValues
        return try Model(path: Self.folder(String(id.split(separator: "/")[0])), options: options)
    }
}

@Suite struct DecodingConformance {
    /// Same tokens and, against the reference's own loop, the same canvas and number of denoising forwards.
    @Test(arguments: Run.models) func runsAreTheReferences(_ name: String) throws {
        let runs = try Run.all(name)
        #expect(runs.count >= 260)
        let model = try runs[0].model()
        var compared = 0
        for run in runs {
            #expect(model.maskTokenID == run.mask_id && model.eosTokenIDs == [run.eos_id])
            if Self.nearTies.contains(run.id) {
                withKnownIssue("the reference's own rounding decides this run") { try compare(run, model) }
            } else {
                try compare(run, model)
            }
            compared += 1
        }
        #expect(compared == runs.count)
    }

    /// Runs whose course hangs on a router margin below f32's resolution. In the one here, layer 1 chooses between groups
    /// 1 and 3 for position 41: 1.31262106 against 1.31262126 in double precision, one and a half units of f32's last
    /// place. We and a plain f32 computation choose group 3, and agree with the reference for eight steps; from then on,
    /// its window wider and its products of another shape, its results are those of group 1.
    private static let nearTies: Set = ["gqa_group/B32/tail/nt3"]

    private func compare(_ run: Run, _ model: Model) throws {
        let decoder = try Decoder(model, prompt: run.prompt, options: run.options)
        try decoder.run()
        #expect(decoder.output == run.tie_lowest_index_output ?? run.output, "\(run.id)")
        if run.isReference, run.tie_ambiguous != true {
            #expect(decoder.forwards == run.forwards, "\(run.id)")
            if let canvas = run.canvas { #expect(Array(decoder.canvas) == canvas, "\(run.id)") }
        }
    }
}
