import Synchronization

/// The keys and values of one block of one sequence, for all layers. A finished block's depend only on the tokens up
/// to its end, so a page can be kept for as long as those stand, and be shared by all sequences that begin with them.
///
/// Whoever holds the only reference may write to it; a page that is shared never changes.
package final class Page: @unchecked Sendable {
    private let storage: Buffer<Float>  // [layers, 2 (keys, values), kvHeads, blockLength * headDim]
    private let headSize: Int
    private let kvHeads: Int
    private let budget: PageBudget?

    /// `budget` has been charged with `byteCount`; it gets that back when the page goes.
    package init(blockLength: Int, config: ModelConfig, budget: PageBudget? = nil) throws(LLaDAError) {
        headSize = blockLength * config.headDim
        kvHeads = config.numKeyValueHeads
        storage = try Buffer(count: config.numHiddenLayers * 2 * kvHeads * headSize)
        self.budget = budget
    }

    deinit { budget?.giveBack(storage.byteCount) }

    static func byteCount(blockLength: Int, config: ModelConfig) -> Int {
        config.numHiddenLayers * 2 * config.numKeyValueHeads * blockLength * config.headDim * MemoryLayout<Float>.stride
    }

    /// All of it, to be kept and brought back on any machine.
    var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: storage.pointer, count: storage.byteCount) }

    /// [headDim, blockLength]: scores of a query are then sums of rows, as its result is of values.
    package func keys(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        storage.pointer + (layer * 2 * kvHeads + head) * headSize
    }

    /// [blockLength, headDim]
    package func values(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        storage.pointer + ((layer * 2 + 1) * kvHeads + head) * headSize
    }
}

/// What pages may take, and do. It is charged by one at a time (`PrefixCache`), and given back to by anyone.
package final class PageBudget: Sendable {
    let limit: Int  // bytes
    private let taken = Atomic<Int>(0)

    init(limit: Int) { self.limit = limit }

    var used: Int { taken.load(ordering: .relaxed) }

    func charge(_ bytes: Int) { taken.add(bytes, ordering: .relaxed) }

    func giveBack(_ bytes: Int) { taken.subtract(bytes, ordering: .relaxed) }
}
