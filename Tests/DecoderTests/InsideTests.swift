import Kernels
import LLaDA
import TestSupport
import Testing

/// What the model did on the way.
@Suite struct InsideTests {
    private func decoder(_ name: String = "gqa_group", _ index: Int = 3) throws -> (Run, Model, Decoder) {
        let run = try Run.all(name)[index]
        let model = try run.model(threads: 2)
        return (run, model, try model.decoder(prompt: run.prompt, options: run.options))
    }

    /// The last layer's output, normed and multiplied with the head, is the logits: so the states are those of the
    /// rows.
    @Test(arguments: Run.models) func theLastLayerGivesTheLogits(_ name: String) throws {
        let (_, model, decoder) = try decoder(name)
        try decoder.watch(routing: true, hidden: true)
        for _ in 0..<2 where !decoder.isFinished { try decoder.step() }
        try decoder.forward()
        let config = model.config
        let hidden = try decoder.hidden(layer: config.numHiddenLayers - 1)
        #expect(hidden.count == decoder.active.count * config.hiddenSize)
        let weights = model.transformer.weights
        for (row, position) in decoder.active.enumerated() {
            let x = hidden[row * config.hiddenSize..<(row + 1) * config.hiddenSize].map(Double.init)
            let scale = 1 / (x.map { $0 * $0 }.reduce(0, +) / Double(x.count) + config.rmsNormEps).squareRoot()
            let normed = x.enumerated().map { $1 * scale * Double(weights.norm.base[$0]) }
            let logits = try decoder.logits(at: position)
            var table = [Float](repeating: 0, count: config.hiddenSize)
            for token in stride(from: 0, to: config.vocabSize, by: 17) {
                guard case .rows(let type) = weights.head.layout else {
                    throw LLaDAError(.tensor, "the head is packed")
                }
                let bytes = config.hiddenSize * Matrix.width(of: type)
                model.transformer.compute.kernels.to_f32(
                    weights.head.base + token * bytes, type, config.hiddenSize, &table)
                let expected = zip(normed, table).reduce(0) { $0 + $1.0 * Double($1.1) }
                #expect(abs(expected - Double(logits[token])) < 1e-3)
            }
        }
    }

    /// In company and alone, the same choices; and each forward counts as many as it has rows.
    @Test func companyDoesNotShow() throws {
        let runs = try Run.all("mini_like")
        let model = try runs[0].model(threads: 2)
        let some = [runs[1], runs[50], runs[120]]
        func make() throws -> [Decoder] {
            try some.map { run in
                let decoder = try model.decoder(prompt: run.prompt, options: run.options)
                try decoder.watch(routing: true, hidden: true)
                return decoder
            }
        }
        let alone = try make()
        for decoder in alone { try decoder.forward() }
        let together = try make()
        try DecoderBatch.forward(together)
        for (one, other) in zip(alone, together) {
            let (a, b) = (try one.routing(layer: 2), try other.routing(layer: 2))
            #expect(a.experts == b.experts && a.weights == b.weights)
            #expect(try one.hidden(layer: 1) == other.hidden(layer: 1))
            #expect(try one.expertUsage() == other.expertUsage())
            let layers = model.config.numHiddenLayers - model.config.firstKDenseReplace
            #expect(
                try one.expertUsage().reduce(0, +) == UInt64(one.active.count * model.config.numExpertsPerTok * layers))
        }
    }

    /// An expert that is off is never chosen, what was cached is forgotten, and on again is as if it had never been
    /// off.
    @Test(arguments: Run.models) func anExpertCanBeSwitchedOff(_ name: String) throws {
        let (run, model, decoder) = try decoder(name)
        let layer = model.config.firstKDenseReplace
        try decoder.watch(routing: true, hidden: false)
        try decoder.forward()
        let plain = try Array(decoder.logits(at: decoder.active.lowerBound))
        let expert = Int(try decoder.routing(layer: layer).experts[0])
        try decoder.disableExpert(expert, layer: layer)
        try decoder.forward()
        #expect(try !decoder.routing(layer: layer).experts.contains(Int32(expert)))
        #expect(try Array(decoder.logits(at: decoder.active.lowerBound)) != plain)
        let fork = try decoder.fork()
        try fork.forward()
        #expect(
            try Array(fork.logits(at: fork.active.lowerBound)) == Array(decoder.logits(at: decoder.active.lowerBound)))
        // Beside one that has all of them.
        let other = try model.decoder(prompt: run.prompt, options: run.options)
        try DecoderBatch.forward([fork, other])
        #expect(try Array(other.logits(at: other.active.lowerBound)) == plain)
        #expect(
            try Array(fork.logits(at: fork.active.lowerBound)) == Array(decoder.logits(at: decoder.active.lowerBound)))
        try decoder.disableExpert(expert, layer: layer, false)
        try decoder.forward()
        #expect(try Array(decoder.logits(at: decoder.active.lowerBound)) == plain)
    }

    @Test func refusals() throws {
        let (_, model, decoder) = try decoder()
        let layer = model.config.firstKDenseReplace
        #expect(throws: LLaDAError.self) { try decoder.routing(layer: layer) }
        try decoder.watch(routing: true, hidden: false)
        #expect(throws: LLaDAError.self) { try decoder.routing(layer: layer) }
        try decoder.forward()
        #expect(throws: LLaDAError.self) { try decoder.hidden(layer: layer) }
        for layer in [-1, 0, model.config.numHiddenLayers] where layer < model.config.firstKDenseReplace || layer > 0 {
            #expect(throws: LLaDAError.self) { try decoder.routing(layer: layer) }
            #expect(throws: LLaDAError.self) { try decoder.disableExpert(0, layer: layer) }
        }
        #expect(throws: LLaDAError.self) { try decoder.disableExpert(model.config.numExperts, layer: layer) }
        var refused = 0
        for expert in 0..<model.config.numExperts {
            do { try decoder.disableExpert(expert, layer: layer) } catch { refused += 1 }
        }
        #expect(refused >= model.config.numExpertsPerTok)
        try decoder.forward()
    }
}
