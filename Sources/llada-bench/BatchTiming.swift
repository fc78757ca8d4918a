import Foundation
import LLaDA

/// The timing of one forward for several sequences, each with drafts of its own on the same prefix.
struct BatchTiming {
    let count: Int
    let prefix: Int
    let block: Int
    private(set) var step: [Double] = []  // seconds
    private(set) var parts: [Observer.Part: [Double]] = [:]

    init(count: Int, prefix: Int, block: Int) {
        self.count = count
        self.prefix = prefix
        self.block = block
    }

    /// The steps per second of all sequences together: tokens per second at one token per forward.
    var stepsPerSecond: Double { Double(count) / median(step) }

    static func round(_ timings: inout [BatchTiming], _ transformer: Transformer, _ random: RandomTokens) throws {
        guard let most = timings.map(\.count).max(), let first = timings.first else { return }
        let tokens = random.first(first.prefix + first.block * (most + 1))
        var watch = PartWatch()
        try withUnsafeMutablePointer(to: &watch) { watch in
            let sequence = CachedSequence(transformer, blockLength: first.block)
            sequence.observer = Observer(finished: { watch.pointee.finished($0) })
            let decoders = try Self.decoders(most, sequence, transformer, tokens, first, maskID: random.maskID)
            for index in timings.indices {
                let some = Array(decoders[..<timings[index].count])
                try DecoderBatch.forward(some)  // not timed: it warms up caches and threads
                watch.pointee = PartWatch()
                let time = try seconds { try DecoderBatch.forward(some) }
                watch.pointee.finished(.head)
                timings[index].step.append(time)
                for (part, time) in watch.pointee.spent { timings[index].parts[part, default: []].append(time) }
            }
        }
    }

    /// Returns forks of one decoder. The prefix is computed once, and a forward has the work of unrelated sequences.
    private static func decoders(
        _ count: Int, _ sequence: CachedSequence, _ transformer: Transformer, _ tokens: [Int32], _ timing: BatchTiming,
        maskID: Int32
    ) throws -> [Decoder] {
        var options = Decoder.Options()
        options.blockLength = timing.block
        options.genLength = timing.block
        let origin = try Decoder(
            sequence, maskID: maskID, eosIDs: [], prompt: Array(tokens[..<timing.prefix]),
            options: options)
        try origin.forward()
        return try (0..<count).map { index in
            let fork = try origin.fork()
            for offset in 0..<timing.block - 1 {
                try fork.setToken(at: timing.prefix + offset, to: tokens[timing.prefix + index * timing.block + offset])
            }
            return fork
        }
    }
}

/// A sum of the times of each part of forwards. The time since the part before belongs to a part.
struct PartWatch {
    private(set) var spent: [Observer.Part: Double] = [:]
    private var last = Self.now

    mutating func finished(_ part: Observer.Part) {
        let time = Self.now
        spent[part, default: 0] += time - last
        last = time
    }

    private static var now: Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }
}
