/// A second look at the logits of the last forward, for a policy that cannot use a token that was predicted.
///
/// It costs the head of the rows that are looked at once more, and keeps its memory.
final class SecondLook {
    /// The tokens that `judge` leaves out, in addition to those that predictions have.
    var without: [Int32] = []
    /// Memory for the tokens of a block.
    var block: [Int32] = []
    private unowned let decoder: Decoder
    private var tokenScratch = Scratch<Int32>()  // [most active]
    private var probabilityScratch = Scratch<Float>()  // [most active]

    init(_ decoder: Decoder) {
        self.decoder = decoder
        without.reserveCapacity(1024)
        block.reserveCapacity(decoder.mostActive)
    }

    /// What was found, for the positions that were asked for.
    struct Result {
        fileprivate let first: Int
        fileprivate let tokens: UnsafePointer<Int32>
        fileprivate let probabilities: UnsafePointer<Float>

        /// The most likely token at a position; nil if all are left out.
        func token(at position: Int) -> Int32? {
            tokens[position - first] < 0 ? nil : tokens[position - first]
        }

        /// Its probability as predictions have it, in the distribution in which nothing more is left out.
        func probability(at position: Int) -> Float { probabilities[position - first] }
    }

    /// Takes the memory for results, which are [most active].
    @discardableResult
    func reserve() throws(LLaDAError) -> (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Float>) {
        let room = decoder.mostActive
        return (try tokenScratch.reserve(room), try probabilityScratch.reserve(room))
    }

    /// Finds the most likely token at each of `positions`, active ones, but for those of `without`. The result is valid
    /// until the next call.
    func judge(_ positions: Range<Int>) throws(LLaDAError) -> Result {
        let room = decoder.mostActive
        let (tokens, probabilities) = try reserve()
        let predictions = decoder.state.predictions
        let first = predictions.positions.lowerBound
        guard let states = decoder.sequence.states else {
            throw LLaDAError(.state, "propose: the logits of the last forward are gone; call forward first")
        }
        let workspaces = decoder.confidence.compute.workspaces
        let work = try workspaces.take()
        defer { workspaces.giveBack(work) }
        try decoder.confidence.alternatives(
            states, rows: positions.lowerBound - first..<positions.upperBound - first,
            adjust: predictions.adjustments, without: without, room: room, work, tokens: tokens,
            probabilities: probabilities)
        return Result(first: positions.lowerBound, tokens: tokens, probabilities: probabilities)
    }
}
