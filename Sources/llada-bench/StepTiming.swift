import Foundation
import LLaDA

/// The timing of a denoising step on a prefix, and of the prefill before it.
struct StepTiming {
    let prefix: Int
    let block: Int
    private(set) var step: [Double] = []  // seconds
    private(set) var prefill: [Double] = []
    private(set) var parts: [Observer.Part: [Double]] = [:]
    /// The number of experts of a layer that the rows of a step use; it is the same in each round.
    private(set) var expertsUsed = 0.0
    /// The bytes of the experts that a step reads.
    private(set) var expertBytes = 0.0
    /// What rank 0 of a cluster exchanges in a step; nil without one.
    private(set) var traffic: (sent: Int, received: Int, messages: Int)?

    init(prefix: Int, block: Int) {
        self.prefix = prefix
        self.block = block
    }

    /// Adds one timing to each, on one sequence. The part that a longer prefix shares with a shorter one is computed
    /// once.
    static func round(_ timings: inout [StepTiming], _ transformer: Transformer, _ random: RandomTokens) throws {
        guard let last = timings.last else { return }
        let tokens = random.first(last.prefix + last.block)
        let sequence = CachedSequence(transformer, blockLength: last.block)
        var prefill = 0.0
        for index in timings.indices {
            prefill += try timings[index].extend(sequence, tokens)
            timings[index].prefill.append(prefill)
            try timings[index].timeStep(sequence, transformer, tokens, maskID: random.maskID)
        }
    }

    /// Computes keys and values up to the end of the prefix, without the head. Returns the time in seconds.
    private func extend(_ sequence: CachedSequence, _ tokens: [Int32]) throws -> Double {
        try tokens.withUnsafeBufferPointer { tokens in
            try seconds { try sequence.prepare(tokens, active: prefix..<prefix, asOneBlock: false).run() }
        }
    }

    private mutating func timeStep(
        _ sequence: CachedSequence, _ transformer: Transformer, _ tokens: [Int32], maskID: Int32
    ) throws {
        var options = Decoder.Options()
        options.blockLength = block
        options.genLength = block
        let decoder = try Decoder(
            sequence, maskID: maskID, eosIDs: [], prompt: Array(tokens[..<prefix]),
            options: options)
        // The block is a draft: masks are all alike and would all go to the same experts. Its tokens differ from those
        // of a longer prefix.
        for position in prefix..<prefix + block - 1 { try decoder.setToken(at: position, to: tokens[position + 1]) }
        try decoder.forward()  // not timed: it warms up caches and threads

        var used: [Int] = []  // by layer
        var watch = PartWatch()
        try withUnsafeMutablePointer(to: &watch) { watch in
            sequence.observer = Observer(
                routing: { _, _, routing in used.append(Set(routing.experts).count) },
                finished: { watch.pointee.finished($0) })
            let before = transformer.exchange?.cluster.info
            step.append(try seconds { try decoder.forward() })
            if let before, let after = transformer.exchange?.cluster.info {
                let messages = after.messagesSent + after.messagesReceived
                traffic = (
                    after.bytesSent - before.bytesSent, after.bytesReceived - before.bytesReceived,
                    messages - before.messagesSent - before.messagesReceived
                )
            }
            watch.pointee.finished(.head)
        }
        sequence.observer = nil
        for (part, time) in watch.spent { parts[part, default: []].append(time) }
        let total = used.reduce(0, +)
        expertsUsed = Double(total) / Double(max(used.count, 1))
        expertBytes = Double(total * transformer.weights.bytesOfAnExpert)
    }
}

extension Weights {
    fileprivate var bytesOfAnExpert: Int {
        for layer in layers {
            if case .mixture(let mixture) = layer.feedForward {
                return [mixture.experts[0].gate, mixture.experts[0].up, mixture.experts[0].down].reduce(0) {
                    $0 + Matrix.byteCount($1.layout, outputs: $1.outputs, inputs: $1.inputs)
                }
            }
        }
        return 0
    }
}
