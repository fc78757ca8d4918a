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
///
/// Weights are integers, so their sums are exact and have no order. Where tokens go best first, they are counted by
/// their distance from the best one, and only the buckets in which something is decided are looked at one by one.
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
    /// drawn from; NaN if a logit is NaN or +inf, or none is finite.  logits: [vocab], which may be memory.row
    package func draw(
        _ logits: UnsafePointer<Float>, uniform: Double, _ memory: SamplerMemory, _ kernels: llk_kernels
    ) -> (token: Int32, confidence: Float) {
        var row = TemperedRow(memory, kernels)
        guard row.fill(logits, temperature), row.largest > -.infinity else { return (0, .nan) }
        let isBestFirst = topP < 1
        let keepsSome = topK > 0 && topK < memory.vocabSize
        if keepsSome || isBestFirst {
            row.sort(weighed: isBestFirst)
            if keepsSome { row.keepLargest(topK) }
            if isBestFirst { row.keepLikely(Double(topP)) }
        }
        let (token, sum) = isBestFirst ? row.drawBestFirst(uniform) : row.drawByID(uniform)
        let exponential = llk_expf(memory.row[Int(token)] - row.largest)
        return (token, Float(Double(exponential) / (Double(sum) * TemperedRow.unit)))
    }
}

/// The memory of one draw. It belongs to one thread at a time.
package struct SamplerMemory {
    static let buckets = 4096
    /// The number of tokens that are weighed together: their weights stay in the cache.
    static let tile = 512

    let vocabSize: Int
    /// A row of logits, adjusted and tempered.  [vocab]
    package let row: UnsafeMutablePointer<Float>
    let members: UnsafeMutablePointer<WeighedToken>  // [vocab]
    let indices: UnsafeMutablePointer<Int32>  // [vocab]
    let sums: UnsafeMutablePointer<UInt64>  // [buckets, or tiles if they are more]
    let counts: UnsafeMutablePointer<UInt64>  // [buckets]
    let weights: UnsafeMutablePointer<UInt64>  // [tile]

    private static func sumCount(_ vocabSize: Int) -> Int { max(buckets, (vocabSize + tile - 1) / tile) }

    /// Returns the number of words of 64 bits that a draw takes.
    package static func size(vocabSize: Int) -> Int {
        2 * ((vocabSize + 1) / 2) + 2 * vocabSize + sumCount(vocabSize) + buckets + tile
    }

    /// Takes the memory from `words`.  words: [size(vocabSize:)]
    package init(_ words: UnsafeMutablePointer<UInt64>, vocabSize: Int) {
        self.vocabSize = vocabSize
        let start = UnsafeMutableRawPointer(words)
        members = start.bindMemory(to: WeighedToken.self, capacity: vocabSize)
        sums = words + 2 * vocabSize
        counts = sums + Self.sumCount(vocabSize)
        weights = counts + Self.buckets
        row = UnsafeMutableRawPointer(weights + Self.tile).bindMemory(to: Float.self, capacity: vocabSize)
        let behind = UnsafeMutableRawPointer(weights + Self.tile + (vocabSize + 1) / 2)
        indices = behind.bindMemory(to: Int32.self, capacity: vocabSize)
    }
}

/// A token that may be drawn.
struct WeighedToken: BitwiseCopyable {
    let id: Int32
    let logit: Float
    let weight: UInt64

    static func isBefore(_ one: WeighedToken, _ other: WeighedToken) -> Bool {
        one.logit != other.logit ? one.logit > other.logit : one.id < other.id
    }
}

/// A row of tempered logits, and what is kept of it.
private struct TemperedRow {
    /// The weight of the most likely token is 1 / unit.
    static let unit = 0x1p-41
    /// Tokens that are further from the best one weigh nothing.
    private static let farthest: Float = 29

    let memory: SamplerMemory
    let kernels: llk_kernels
    private(set) var largest: Float = 0
    private var smallest: Float = 0
    /// What is less is not kept.
    private var floor = -Float.infinity
    /// Buckets for a unit of distance.
    private var density: Float = 0
    /// The last bucket of which something is kept, and how many of the listed tokens that is, for `keepLikely`.
    private var last = SamplerMemory.buckets - 1
    private var keptOfLast = 0
    private var count: Int { memory.vocabSize }

    init(_ memory: SamplerMemory, _ kernels: llk_kernels) {
        self.memory = memory
        self.kernels = kernels
    }

    /// Divides the logits by the temperature. Returns whether they are sound.
    mutating func fill(_ logits: UnsafePointer<Float>, _ temperature: Float) -> Bool {
        kernels.temper(logits, count, temperature, memory.row, &smallest, &largest)
    }

    /// Counts the tokens of each bucket, and sums their weights.
    mutating func sort(weighed: Bool) {
        let buckets = SamplerMemory.buckets
        let range = min(largest - smallest, Self.farthest)  // infinite if tokens are banned
        density = Float(buckets) / max(range, .leastNormalMagnitude)
        if !density.isFinite { density = .greatestFiniteMagnitude }
        memory.counts.update(repeating: 0, count: buckets)
        memory.sums.update(repeating: 0, count: buckets)
        for first in stride(from: 0, to: count, by: SamplerMemory.tile) {
            let tile = min(SamplerMemory.tile, count - first)
            if weighed { _ = kernels.weigh(memory.row + first, tile, largest, floor, memory.weights) }
            for index in 0..<tile {
                let bucket = bucket(of: memory.row[first + index])
                memory.counts[bucket] &+= 1
                if weighed { memory.sums[bucket] &+= memory.weights[index] }
            }
        }
    }

    /// Returns the bucket of a logit: no smaller logit has an earlier one.
    private func bucket(of logit: Float) -> Int {
        let place = (largest - logit) * density
        return place < Float(SamplerMemory.buckets - 1) ? Int(place) : SamplerMemory.buckets - 1
    }

    /// Lists the kept tokens of a bucket. Returns their number.
    private func list(_ bucket: Int) -> Int {
        // The condition is that of bucket(of:), without a conversion.
        let end = bucket == SamplerMemory.buckets - 1 ? Float.nan : Float(bucket + 1)
        let inBucket = kernels.find(memory.row, count, largest, density, Float(bucket), end, memory.indices)
        var found = 0
        for id in UnsafeBufferPointer(start: memory.indices, count: inBucket) {
            let logit = memory.row[Int(id)]
            if logit < floor { continue }
            let weight = UInt64((Double(llk_expf(logit - largest)) / Self.unit).rounded(.toNearestOrEven))
            memory.members[found] = WeighedToken(id: id, logit: logit, weight: weight)
            found += 1
        }
        return found
    }

    /// Keeps the `most` largest logits, and those that are equal to the smallest of them.
    mutating func keepLargest(_ most: Int) {
        var before = 0
        var bucket = 0
        while before + Int(memory.counts[bucket]) < most {
            before += Int(memory.counts[bucket])
            bucket += 1
        }
        let found = list(bucket)
        let members = UnsafeMutableBufferPointer(start: memory.members, count: found)
        let kept = members.leading { _, number in before + number < most }
        floor = members[..<kept.count].reduce(Float.infinity) { min($0, $1.logit) }
        last = bucket
        memory.sums[bucket] = members.reduce(0) { $0 &+ ($1.logit >= floor ? $1.weight : 0) }
    }

    /// Keeps the most likely tokens, each if the probability of those before it does not exceed `probability`.
    mutating func keepLikely(_ probability: Double) {
        var sum: UInt64 = 0
        for bucket in 0...last { sum &+= memory.sums[bucket] }
        func isKept(_ before: UInt64) -> Bool { Double(before) / Double(sum) <= probability }
        var before: UInt64 = 0
        var bucket = 0
        while bucket < last, isKept(before &+ memory.sums[bucket]) {
            before &+= memory.sums[bucket]
            bucket += 1
        }
        let members = UnsafeMutableBufferPointer(start: memory.members, count: list(bucket))
        let kept = members.leading { weight, _ in isKept(before &+ weight) }
        last = bucket
        memory.sums[bucket] = kept.weight
        keptOfLast = kept.count
    }

    /// Draws a token, the kept ones being in the order of their probabilities. Returns it, and the weight of all.
    func drawBestFirst(_ uniform: Double) -> (token: Int32, sum: UInt64) {
        var sum: UInt64 = 0
        for bucket in 0...last { sum &+= memory.sums[bucket] }
        let target = Self.part(uniform, of: sum)
        var before: UInt64 = 0
        var bucket = 0
        while bucket < last, before &+ memory.sums[bucket] <= target {
            before &+= memory.sums[bucket]
            bucket += 1
        }
        let found = bucket == last ? keptOfLast : list(bucket)
        let members = UnsafeMutableBufferPointer(start: memory.members, count: found)
        let leading = members.leading { weight, _ in before &+ weight <= target }
        var drawn = members[0]
        for member in members[..<leading.count] where WeighedToken.isBefore(drawn, member) { drawn = member }
        return (drawn.id, sum)
    }

    /// Draws a token, the kept ones being in the order of their ids. Returns it, and the weight of all.
    func drawByID(_ uniform: Double) -> (token: Int32, sum: UInt64) {
        let size = SamplerMemory.tile
        let tiles = (count + size - 1) / size
        func weigh(_ tile: Int) -> UInt64 {
            kernels.weigh(
                memory.row + tile * size, min(size, count - tile * size), largest, floor, memory.weights)
        }
        var sum: UInt64 = 0
        for tile in 0..<tiles {
            memory.sums[tile] = weigh(tile)
            sum &+= memory.sums[tile]
        }
        var rest = Self.part(uniform, of: sum)
        var tile = 0
        while rest >= memory.sums[tile] {
            rest &-= memory.sums[tile]
            tile += 1
        }
        _ = weigh(tile)
        var index = 0
        while rest >= memory.weights[index] {
            rest &-= memory.weights[index]
            index += 1
        }
        return (Int32(tile * size + index), sum)
    }

    /// Returns the part of a sum that lies before what a number of 53 bits in [0, 1) draws; less than the sum.
    private static func part(_ uniform: Double, of sum: UInt64) -> UInt64 {
        let product = UInt64(uniform * 0x1p53).multipliedFullWidth(by: sum)
        return product.high << 11 | product.low >> 53
    }
}

extension UnsafeMutableBufferPointer<WeighedToken> {
    /// Moves tokens to the front, the first ones in their order: as many as there are whose predecessors, by their
    /// weight and number, satisfy `holds`, which holds for all up to some place, and for none behind it. Returns their
    /// number and weight. They are in no order. (Quickselect; a sort where it degenerates.)
    fileprivate func leading(
        _ holds: (_ weight: UInt64, _ number: Int) -> Bool
    ) -> (count: Int, weight: UInt64) {
        var (start, end, before) = (0, count, 0 as UInt64)
        var depth = 2 * (Int.bitWidth - count.leadingZeroBitCount)
        while end - start > 16, depth > 0 {
            depth -= 1
            let pivot = medianOfThree(start, start + (end - start) / 2, end - 1)
            var (place, weight, pivotPlace) = (start, before, start)
            for index in start..<end where !WeighedToken.isBefore(pivot, self[index]) {
                if self[index].id == pivot.id { pivotPlace = place }
                weight &+= self[index].weight
                swapAt(index, place)
                place += 1
            }
            if holds(weight &- pivot.weight, place - 1) {  // of the pivot, and so of all before it
                (start, before) = (place, weight)
            } else {
                swapAt(pivotPlace, place - 1)
                end = place - 1
            }
        }
        UnsafeMutableBufferPointer(rebasing: self[start..<end]).sortInPlace(by: WeighedToken.isBefore)
        while start < end, holds(before, start) {
            before &+= self[start].weight
            start += 1
        }
        return (start, before)
    }

    private func medianOfThree(_ one: Int, _ two: Int, _ three: Int) -> WeighedToken {
        let (a, b, c) = (self[one], self[two], self[three])
        if WeighedToken.isBefore(a, b) {
            return WeighedToken.isBefore(b, c) ? b : WeighedToken.isBefore(a, c) ? c : a
        }
        return WeighedToken.isBefore(a, c) ? a : WeighedToken.isBefore(b, c) ? c : b
    }
}
