import Glibc
import Kernels

/// Random numbers without a state: the draw for a position of a forward is a function of the seed, the forward's number
/// and the position. So draws depend neither on order nor on threads, and a decoder can be stepped, copied or resumed
/// freely. Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3; 2011).
package struct Philox {
    private let seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// Returns a uniform number in [0, 1) with 53 bits.
    package func uniform(forward: Int, position: Int) -> Double {
        var counter: (UInt32, UInt32, UInt32, UInt32) = (
            UInt32(truncatingIfNeeded: forward), UInt32(truncatingIfNeeded: forward >> 32),
            UInt32(truncatingIfNeeded: position), UInt32(truncatingIfNeeded: position >> 32)
        )
        var key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        for _ in 0..<10 {
            let first = (0xD251_1F53 as UInt32).multipliedFullWidth(by: counter.0)
            let second = (0xCD9E_8D57 as UInt32).multipliedFullWidth(by: counter.2)
            counter = (second.high ^ counter.1 ^ key.0, second.low, first.high ^ counter.3 ^ key.1, first.low)
            key = (key.0 &+ 0x9E37_79B9, key.1 &+ 0xBB67_AE85)
        }
        let bits = UInt64(counter.0) << 32 | UInt64(counter.1)
        return Double(bits >> 11) * 0x1p-53
    }
}

/// A sampler of tokens: temperature, then top-k, then top-p on what is left (spec: decoding.md, section 0).
package struct Sampler {
    private let temperature: Float
    private let topK: Int
    private let topP: Float

    package init(temperature: Float, topK: Int, topP: Float) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }

    /// Returns the token that `uniform` draws from one row of logits, and its probability in the distribution it was
    /// drawn from.  logits: [vocab]
    package func draw(_ logits: UnsafePointer<Float>, vocab: Int, uniform: Double) -> (token: Int32, confidence: Float)
    {
        // The token ids with their logits divided by the temperature.
        var kept: [(id: Int32, logit: Float)] = []
        kept.reserveCapacity(vocab)
        let floor = topK > 0 && topK < vocab ? kthLargest(logits, vocab) : -Float.infinity
        for id in 0..<vocab where logits[id] >= floor && logits[id] > -.infinity {
            kept.append((Int32(id), logits[id] / temperature))
        }
        guard !kept.isEmpty else { return (0, .nan) }
        if topP < 1 {  // best first, ties by lower id
            kept.sort { $0.logit != $1.logit ? $0.logit > $1.logit : $0.id < $1.id }
        }
        let largest = kept.reduce(-Float.infinity) { max($0, $1.logit) }
        var weights = kept.map { Double(llk_expf($0.logit - largest)) }
        var sum = weights.reduce(0, +)
        if topP < 1 {
            // A token stays if the mass before it does not exceed p. So the token that crosses p stays, and always the
            // first.
            var before = 0.0
            var count = 0
            while count < weights.count, before / sum <= Double(topP) {
                before += weights[count]
                count += 1
            }
            weights.removeLast(weights.count - count)
            sum = weights.reduce(0, +)
        }
        var mass = uniform * sum
        var drawn = 0
        while drawn < weights.count - 1, mass >= weights[drawn] {
            mass -= weights[drawn]
            drawn += 1
        }
        return (kept[drawn].id, Float(weights[drawn] / sum))
    }

    private func kthLargest(_ logits: UnsafePointer<Float>, _ vocab: Int) -> Float {
        let sorted = UnsafeBufferPointer(start: logits, count: vocab).sorted(by: >)
        return sorted[topK - 1]
    }
}
