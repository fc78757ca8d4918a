import Foundation
import Kernels
import LLaDA
import Probes

/// One denoising step and one prefill, timed again and again with probes of the machine in between.
struct Timing {
    private(set) var step: [Double] = []  // seconds
    private(set) var prefill: [Double] = []
    private(set) var parts: [Observer.Part: [Double]] = [:]
    private(set) var bandwidth: [Double] = []  // GB/s
    private(set) var arithmetic: [Double] = []  // G(FL)OP/s
    private(set) var expertBytes: [Double] = []  // read by a step

    let model: Model
    let prefix: Int
    let block: Int

    /// The way this precision multiplies.
    static func kind(_ precision: Precision) -> probe_kind {
        switch precision {
        case .packed(LLK_PACKED_BF16): PROBE_BF16
        case .packed: PROBE_INT8
        case .rows: PROBE_F32
        }
    }

    init(_ model: Model, prefix: Int, block: Int, rounds: Int) throws {
        self.model = model
        self.prefix = prefix / block * block
        self.block = block
        let machine = try Machine(team: model.transformer.compute.team)
        for _ in 0..<rounds {
            bandwidth.append(machine.bandwidth())
            try round()
            arithmetic.append(machine.arithmetic(Self.kind(model.precision)))
        }
    }

    private mutating func round() throws {
        let config = model.config
        let tokens = (0..<prefix + block).map { Int32(($0 * 7919 + 13) % config.vocabSize) }
        let sequence = try CachedSequence(model.transformer, blockLength: block)
        var options = Decoder.Options()
        options.blockLength = block
        options.genLength = block
        let decoder = try Decoder(
            sequence, compute: model.transformer.compute, maskID: tokens[prefix], eosIDs: [], prompt: Array(tokens[..<prefix]),
            options: options)
        // What a prefill is for: the keys and values of the prefix, and nothing of the head.
        prefill.append(try tokens.withUnsafeBufferPointer { tokens in
            try seconds { _ = try sequence.forward(tokens, active: 0..<prefix, asOneBlock: false) }
        })
        // A draft, for masks are all alike and would all go to the same experts.
        for position in prefix..<prefix + block - 1 { try decoder.setToken(tokens[position + 1], at: position) }
        try decoder.forward()  // the rest of the first one is not timed: caches and threads get warm

        var last = 0.0
        var spent: [Observer.Part: Double] = [:]
        var bytes = 0
        let expert = config.numExperts > 0 ? expertBytes(of: model) : 0
        func now() -> Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }
        sequence.observer = Observer(
            routing: { _, routing in bytes += Set(routing.experts).count * expert },
            finished: { part in
                let time = now()
                spent[part, default: 0] += time - last
                last = time
            })
        let start = now()
        last = start
        try decoder.forward()
        let end = now()
        spent[.head] = end - last
        step.append(end - start)
        expertBytes.append(Double(bytes))
        for (part, time) in spent { parts[part, default: []].append(time) }
    }

    private func expertBytes(of model: Model) -> Int {
        for layer in model.transformer.weights.layers {
            if case .mixture(let mixture) = layer.feedForward {
                return [mixture.experts[0].gate, mixture.experts[0].up, mixture.experts[0].down].reduce(0) {
                    $0 + Matrix.byteCount($1.layout, outputs: $1.outputs, inputs: $1.inputs)
                }
            }
        }
        return 0
    }

    /// Operations (two a multiply-add) of the head in a step.
    var headOperations: Double { 2 * Double(block * model.config.hiddenSize) * Double(model.config.vocabSize) }
}

func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
}
