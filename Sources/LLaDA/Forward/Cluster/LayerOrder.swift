/// The message by which rank 0 gives rows of a layer to another rank: a head of words, the numbers of the rows in the
/// layer, their experts and weights, and the rows themselves. It has the byte order and the types of the machine; ranks
/// of another byte order are refused when they join.
struct LayerOrder {
    var layer = 0
    /// The rows in the message, and the rows of a chunk of sums.
    var rows = 0
    var chunk = 0
    /// A number that consecutive layers have, for the tags of their sums.
    var number = 0
    /// Whether rows are prepared for the experts' kernels; else they are f32.
    var isPrepared = false
    var rowBytes = 0

    static let headWords = 8
    /// No message has more bytes.
    static let mostBytes = 1 << 30

    /// Where the parts of a message begin.
    struct Layout {
        let numbers: Int
        let experts: Int
        let weights: Int
        let rows: Int
        let byteCount: Int

        init(rows count: Int, k: Int, rowBytes: Int) {
            numbers = LayerOrder.headWords * 8
            experts = numbers + count * 4
            weights = experts + count * k * 4
            rows = (weights + count * k * 4 + 63) / 64 * 64
            byteCount = rows + count * rowBytes
        }
    }

    func write(to base: UnsafeMutableRawPointer) {
        let words = base.bindMemory(to: Int64.self, capacity: Self.headWords)
        words[0] = Order.layer.rawValue
        words[1] = Int64(layer)
        words[2] = Int64(rows)
        words[3] = Int64(chunk)
        words[4] = Int64(number)
        words[5] = isPrepared ? 1 : 0
        words[6] = Int64(rowBytes)
        words[7] = 0
    }

    /// Reads a message of `byteCount` bytes; nil if it is none for this config and these sizes of rows.
    init?(_ base: UnsafeRawPointer, byteCount: Int, _ config: ModelConfig, floatBytes: Int, preparedBytes: Int) {
        guard byteCount >= Self.headWords * 8 else { return nil }
        func word(_ index: Int) -> Int { Int(base.loadUnaligned(fromByteOffset: index * 8, as: Int64.self)) }
        layer = word(1)
        rows = word(2)
        chunk = word(3)
        number = word(4)
        isPrepared = word(5) != 0
        rowBytes = isPrepared ? preparedBytes : floatBytes
        guard config.firstKDenseReplace..<config.numHiddenLayers ~= layer, rows > 0, rows <= Self.mostBytes, chunk > 0,
            number >= 0, word(6) == rowBytes
        else { return nil }
        let layout = Layout(rows: rows, k: config.numExpertsPerTok, rowBytes: rowBytes)
        guard layout.byteCount == byteCount else { return nil }
        // Numbers increase from row to row, and experts within a row.
        var last = -1
        for row in 0..<rows {
            let number = Int(base.loadUnaligned(fromByteOffset: layout.numbers + row * 4, as: Int32.self))
            guard number > last else { return nil }
            last = number
            var lastExpert = -1
            for slot in row * config.numExpertsPerTok..<(row + 1) * config.numExpertsPerTok {
                let expert = Int(base.loadUnaligned(fromByteOffset: layout.experts + slot * 4, as: Int32.self))
                guard expert > lastExpert, expert < config.numExperts else { return nil }
                lastExpert = expert
            }
        }
    }

    init() {}
}
