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
    /// drawn from.  logits: [vocab];  memory: [vocab], free
    package func draw(
        _ logits: UnsafePointer<Float>, vocab: Int, uniform: Double, _ memory: UnsafeMutablePointer<WeighedToken>
    ) -> (token: Int32, confidence: Float) {
        let floor = topK > 0 && topK < vocab ? kthLargest(logits, vocab, memory) : -Float.infinity
        // The tokens with their logits divided by the temperature.
        var count = 0
        for id in 0..<vocab where logits[id] >= floor && logits[id] > -.infinity {
            memory[count] = WeighedToken(id: Int32(id), logit: logits[id] / temperature)
            count += 1
        }
        guard count > 0 else { return (0, .nan) }
        let kept = UnsafeMutableBufferPointer(start: memory, count: count)
        if topP < 1 {  // best first, ties by lower id
            kept.sortInPlace { $0.logit != $1.logit ? $0.logit > $1.logit : $0.id < $1.id }
        }
        let largest = kept.reduce(-Float.infinity) { max($0, $1.logit) }
        for index in kept.indices { kept[index].weight = Double(llk_expf(kept[index].logit - largest)) }
        var sum = kept.reduce(0) { $0 + $1.weight }
        if topP < 1 {
            // A token stays if the mass before it does not exceed p. So the token that crosses p stays, and always the
            // first.
            var before = 0.0
            var stayed = 0
            while stayed < count, before / sum <= Double(topP) {
                before += kept[stayed].weight
                stayed += 1
            }
            count = stayed
            sum = kept[..<count].reduce(0) { $0 + $1.weight }
        }
        var mass = uniform * sum
        var drawn = 0
        while drawn < count - 1, mass >= kept[drawn].weight {
            mass -= kept[drawn].weight
            drawn += 1
        }
        return (kept[drawn].id, Float(kept[drawn].weight / sum))
    }

    /// Returns the smallest of the `topK` largest logits.  memory: [topK], free
    private func kthLargest(
        _ logits: UnsafePointer<Float>, _ vocab: Int, _ memory: UnsafeMutablePointer<WeighedToken>
    ) -> Float {
        let best = UnsafeMutableBufferPointer(start: memory, count: topK)
        for id in 0..<topK { best[id] = WeighedToken(id: Int32(id), logit: logits[id]) }
        best.makeHeap { $0.logit > $1.logit }  // the smallest is at the top
        for id in topK..<vocab where logits[id] > best[0].logit {
            best.replaceTop(by: WeighedToken(id: Int32(id), logit: logits[id])) { $0.logit > $1.logit }
        }
        return best[0].logit
    }
}

/// A token that may be drawn.
package struct WeighedToken: BitwiseCopyable {
    let id: Int32
    let logit: Float
    /// Its probability, in units of that of the most likely token.
    var weight = 0.0
}
