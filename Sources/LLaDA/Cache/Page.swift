/// The keys and values of one block of one sequence, for all layers. A finished block's depend only on the tokens up
/// to its end, so a page can be kept for as long as those stand.
package final class Page {
    private let storage: Buffer<Float>  // [layers, 2 (keys, values), kvHeads, blockLength * headDim]
    private let headSize: Int
    private let kvHeads: Int

    package init(blockLength: Int, config: ModelConfig) throws(LLaDAError) {
        headSize = blockLength * config.headDim
        kvHeads = config.numKeyValueHeads
        storage = try Buffer(count: config.numHiddenLayers * 2 * kvHeads * headSize)
    }

    /// [headDim, blockLength]: scores of a query are then sums of rows, as its result is of values.
    package func keys(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        storage.pointer + (layer * 2 * kvHeads + head) * headSize
    }

    /// [blockLength, headDim]
    package func values(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        storage.pointer + ((layer * 2 + 1) * kvHeads + head) * headSize
    }
}
