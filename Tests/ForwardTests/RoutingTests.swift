import LLaDA
import TestSupport
import Testing

@Suite struct RoutingTests {
    /// The same experts with the same weights, for every row of every mixture layer.
    @Test(arguments: Fixture.names) func expertsAreTheReferences(_ name: String) throws {
        let fixture = try Fixture(name)
        let model = try Model(path: fixture.folder)
        let k = model.config.numExpertsPerTok
        var compared = 0
        for ids in fixture.names where ids.hasSuffix(".ids") {
            let prefix = String(ids.dropLast(4))
            let block = prefix.hasPrefix("B") ? Int(prefix.dropFirst())! : model.config.blockSize
            let tokens: [Int32] = try fixture.values(ids)
            var routings: [Int: Routing] = [:]
            let sequence = CachedSequence(model.transformer, blockLength: block)
            sequence.observer = Observer(routing: { routings[$0] = $2 })
            try tokens.withUnsafeBufferPointer { buffer in
                try sequence.prepare(buffer, active: 0..<tokens.count, asOneBlock: false).run()
            }
            for layer in model.config.firstKDenseReplace..<model.config.numHiddenLayers {
                let routing = try #require(routings[layer])
                let experts: [Int32] = try fixture.values("\(prefix).L\(layer).idx")
                let weights: [Float] = try fixture.values("\(prefix).L\(layer).w")
                for row in tokens.indices {
                    let slots = row * k..<(row + 1) * k
                    let theirs = Dictionary(uniqueKeysWithValues: zip(experts[slots], weights[slots]))
                    let ours = Dictionary(uniqueKeysWithValues: zip(routing.experts[slots], routing.weights[slots]))
                    #expect(Set(ours.keys) == Set(theirs.keys), "\(name) \(prefix) layer \(layer) row \(row)")
                    for (expert, weight) in ours { #expect(abs(weight - (theirs[expert] ?? .nan)) < 1e-4) }
                    compared += 1
                }
            }
        }
        #expect(compared > 0)
    }
}
