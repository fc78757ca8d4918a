import Glibc

extension ModelConfig {
    /// Returns the number of experts of a layer that the tokens of a step use together, as expected if routers chose at
    /// random. Real routers choose alike for tokens of one text, and use fewer. 0 without experts.
    package func expectedExperts(rows: Int) -> Double {
        if numExperts == 0 { return 0 }
        let pool = Double(expertCapacity > 0 ? expertCapacity : numExperts)
        return pool * (1 - pow(1 - Double(numExpertsPerTok) / pool, Double(rows)))
    }
}

extension Weights {
    /// Returns the bytes of weights that a step of `rows` tokens reads, if its layers use `experts` experts each: all
    /// matrices, of the routed experts that part, and of the embedding nothing that counts, unless it is the head too.
    package func stepBytes(experts: Double, of config: ModelConfig) -> Double {
        let hasHead = tensors.contains { $0.name == "lm_head.weight" }
        return tensors.reduce(0) { sum, tensor in
            if hasHead, tensor.name == "model.word_embeddings.weight" { return sum }
            let isExpert = tensor.name.utf8.split(separator: UInt8(ascii: ".")).contains {
                $0.elementsEqual("experts".utf8)
            }
            return sum + Double(tensor.byteCount) * (isExpert ? experts / Double(config.numExperts) : 1)
        }
    }
}
