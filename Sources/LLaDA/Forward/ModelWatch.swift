/// A record of the last forward of one sequence inside the model, for the rows that were denoised.
package final class ModelWatch {
    let keepsRouting: Bool
    let keepsHidden: Bool
    private let config: ModelConfig
    private var routings: [Int: Routing] = [:]  // by layer
    private var outputs: [Int: [Float]] = [:]  // by layer: [rows, hidden]
    /// The number of rows that each expert has had since the watch began: [layers, experts].
    private(set) var usage: [UInt64]
    /// Which rows are part of the last forward; nil: all. The others keep what they had.
    private var selection: [Bool]?
    /// Whether there was a forward.
    private(set) var isFilled = false

    /// Throws `.outOfMemory`.
    init(routing: Bool, hidden: Bool, _ config: ModelConfig) throws(LLaDAError) {
        let room = try Reserve.Room(64 + 8 * config.numHiddenLayers * config.numExperts)
        defer { room.close() }
        keepsRouting = routing
        keepsHidden = hidden
        self.config = config
        usage = [UInt64](repeating: 0, count: routing ? config.numHiddenLayers * config.numExperts : 0)
    }

    func routing(layer: Int) -> Routing? { routings[layer] }
    func hidden(layer: Int) -> [Float]? { outputs[layer] }

    /// Returns an observer of a batch in which the sequence has these indices. With `selection`, it has only the rows
    /// with true: the records of the others stay, or are -1 and NaN if they never were there.
    func observer(_ sequences: Range<Int>, selection: [Bool]?) -> Observer {
        self.selection = selection
        var observer = Observer()
        if keepsRouting {
            observer.routing = { [self] layer, rows, routing in
                // Experts and weights, in arrays that double. Without memory, the forward fails afterwards.
                guard let room = Self.room(64 * (rows.count + (selection?.count ?? 0)) * routing.k) else { return }
                defer { room.close() }
                var own = Routing(experts: [], weights: [], k: routing.k)
                for row in Self.own(rows, sequences) {
                    own.experts += routing.experts[row * routing.k..<(row + 1) * routing.k]
                    own.weights += routing.weights[row * routing.k..<(row + 1) * routing.k]
                }
                if let selection {
                    let before = routings[layer]
                    own.experts = Self.merge(own.experts, selection, before?.experts ?? [], width: routing.k, none: -1)
                    own.weights = Self.merge(own.weights, selection, before?.weights ?? [], width: routing.k, none: 0)
                }
                routings[layer] = own
            }
        }
        if keepsHidden {
            let hidden = config.hiddenSize
            observer.output = { [self] layer, rows, x, delta in
                guard let room = Self.room((64 + 16 * hidden) * (rows.count + (selection?.count ?? 0))) else { return }
                defer { room.close() }
                let own = Self.own(rows, sequences).flatMap { row in
                    (row * hidden..<(row + 1) * hidden).map { x[$0] + delta[$0] }
                }
                guard let selection else {
                    outputs[layer] = own
                    return
                }
                outputs[layer] = Self.merge(own, selection, outputs[layer] ?? [], width: hidden, none: .nan)
            }
        }
        return observer
    }

    /// Counts the experts of a forward that has ended.
    func count() {
        isFilled = true
        for (layer, routing) in routings {
            for (slot, expert) in routing.experts.enumerated() where selection?[slot / routing.k] ?? true {
                usage[layer * config.numExperts + Int(expert)] += 1
            }
        }
    }

    /// Puts new rows among old ones.  new: [rows with true, width];  old, result: [selection.count, width]
    private static func merge<Value>(
        _ new: [Value], _ selection: [Bool], _ old: [Value], width: Int, none: Value
    ) -> [Value] {
        let count = selection.count * width
        var all = old.count == count ? old : [Value](repeating: none, count: count)
        var next = 0
        for (row, isNew) in selection.enumerated() where isNew {
            for place in 0..<width { all[row * width + place] = new[next * width + place] }
            next += 1
        }
        return all
    }

    private static func room(_ bytes: Int) -> Reserve.Room? {
        Reserve.note { () throws(LLaDAError) in try Reserve.Room(bytes) }
    }

    private static func own(_ rows: [Row], _ sequences: Range<Int>) -> [Int] {
        rows.indices.filter { rows[$0].wantsLogits && sequences.contains(rows[$0].sequence) }
    }
}

extension Observer {
    /// Makes one observer of several: each callback calls all of theirs.
    init(_ all: [Observer]) {
        let (routings, outputs, finishes) = (
            all.compactMap(\.routing), all.compactMap(\.output), all.compactMap(\.finished)
        )
        if !routings.isEmpty {
            routing = { layer, rows, routing in for tell in routings { tell(layer, rows, routing) } }
        }
        if !outputs.isEmpty {
            output = { layer, rows, x, delta in for tell in outputs { tell(layer, rows, x, delta) } }
        }
        if !finishes.isEmpty { finished = { part in for tell in finishes { tell(part) } } }
    }
}
