import Foundation
import Kernels
import LLaDA
import Probes

/// Everything that is timed, round after round.
struct Bench {
    /// The timings for one number of threads and one pool of experts.
    struct Run {
        let transformer: Transformer
        var steps: [StepTiming]  // by prefix
        var batches: [BatchTiming] = []  // by count
        var generations: [GenerationTiming] = []  // by prompt and policy
        var bandwidth: [Double] = []  // GB/s
        var arithmetic: [Double] = []  // G(FL)OP/s
        var floatArithmetic: [Double] = []  // GFLOP/s
        var scoreArithmetic: [Double] = []  // GFLOP/s, in the type of keys and values

        var team: ThreadTeam { transformer.compute.team }
        /// The most that all threads reached, round by round.
        var limits: [StepCost.Limits] {
            arithmetic.indices.map { round in
                StepCost.Limits(
                    bandwidth: bandwidth[round], arithmetic: max(arithmetic[round], floatArithmetic[round]),
                    floatArithmetic: floatArithmetic[round],
                    scoreArithmetic: max(scoreArithmetic[round], floatArithmetic[round]))
            }
        }
        var name: String {
            let pool = transformer.config.expertCapacity
            return (team.size == 1 ? "1 thread" : "\(team.size) threads") + (pool > 0 ? ", pool of \(pool)" : "")
        }
    }

    let model: Model
    private(set) var runs: [Run]
    private let arguments: Arguments

    init(_ model: Model, _ arguments: Arguments) throws {
        self.model = model
        self.arguments = arguments
        let block = arguments.block
        let prefixes = arguments.prefixes.map { $0 / block * block }
        let tokens = RandomTokens(model)
        let prompts =
            if let text = arguments.prompt { [try Self.encode(text, model)] } else { prefixes.map { tokens.first($0) } }
        let longest = max(prefixes.last ?? 0, prompts.map(\.count).max() ?? 0) + max(block, arguments.generate)
        guard longest <= model.config.maxPositionEmbeddings else {
            throw LLaDAError(
                .invalidArgument, "\(longest) positions are wanted; the model has \(model.config.maxPositionEmbeddings)"
            )
        }
        // All teams compute with one set of weights.
        let own = model.transformer
        runs = []
        for threads in arguments.threads {
            let compute =
                threads == 0 || threads == model.threads
                ? own.compute : Compute(team: ThreadTeam(threads: threads), blas: own.compute.blas)
            for capacity in arguments.capacities {
                let transformer = Transformer(
                    config: try model.config.withExpertCapacity(capacity), weights: own.weights, compute: compute,
                    kvDType: own.kvDType, exchange: own.exchange)
                runs.append(
                    Run(
                        transformer: transformer, steps: prefixes.map { StepTiming(prefix: $0, block: block) },
                        batches: arguments.batches.map { BatchTiming(count: $0, prefix: prefixes[0], block: block) }))
            }
        }
        if arguments.generate == 0 { return }
        for index in runs.indices {
            runs[index].generations = prompts.flatMap { prompt in
                arguments.policies.map { name, policy in
                    var options = Decoder.Options()
                    options.blockLength = block
                    options.genLength = arguments.generate
                    options.policy = policy
                    // The end of an answer means nothing with random weights.
                    let ends = arguments.shape == nil ? model.eosTokenIDs : []
                    return GenerationTiming(
                        policy: name, prompt: prompt, maskID: tokens.maskID, eosIDs: ends,
                        editTokens: tokens.editTokens, options: options)
                }
            }
        }
    }

    private static func encode(_ text: String, _ model: Model) throws -> [Int32] {
        guard let tokenizer = model.tokenizer else {
            throw LLaDAError(.tokenizer, "--prompt wants a model with a tokenizer")
        }
        guard let chat = model.chatTemplate, chat.isKnownLayout else { return try tokenizer.encode(text) }
        return try chat.encode([ChatMessage(role: .user, content: text)])
    }

    mutating func run() throws {
        let machine = try Machine(model.transformer.compute.team)
        let tokens = RandomTokens(model)
        for round in 1...arguments.rounds {
            for index in runs.indices {
                let team = runs[index].team
                runs[index].bandwidth.append(machine.bandwidth(team))
                try StepTiming.round(&runs[index].steps, runs[index].transformer, tokens)
                try BatchTiming.round(&runs[index].batches, runs[index].transformer, tokens)
                for generation in runs[index].generations.indices {
                    try runs[index].generations[generation].round(runs[index].transformer)
                }
                runs[index].arithmetic.append(Machine.arithmetic(team, Self.kind(model.dtype)))
                runs[index].floatArithmetic.append(Machine.arithmetic(team, PROBE_F32))
                let scores = Self.kind(runs[index].transformer.kvDType)
                runs[index].scoreArithmetic.append(Machine.arithmetic(team, scores))
            }
            FileHandle.standardError.write(Data("round \(round) of \(arguments.rounds)\n".utf8))
        }
    }

    /// Returns how matrices of this format are multiplied.
    private static func kind(_ dtype: NumberFormat?) -> probe_kind {
        switch dtype {
        case .bf16: PROBE_BF16
        case .int8, .int4, .q8_0, .q4_0: PROBE_INT8
        case nil, .f32, .f16, .f8E4M3: PROBE_F32
        }
    }
}

/// Tokens that spread over the vocabulary, without the mask.
struct RandomTokens {
    let maskID: Int32
    let editTokens: EditTokens?
    private let vocabulary: Int

    init(_ model: Model) {
        vocabulary = model.config.vocabSize
        maskID = model.maskTokenID ?? Int32(vocabulary - 1)
        // A shape has no config that names them.
        editTokens = model.specialTokens.editTokens ?? EditTokens(delete: maskID - 2, split: maskID - 1)
    }

    func first(_ count: Int) -> [Int32] {
        (0..<count).map { index in
            let token = Int32((index * 7919 + 13) % (vocabulary - 1))
            return token < maskID ? token : token + 1
        }
    }
}
