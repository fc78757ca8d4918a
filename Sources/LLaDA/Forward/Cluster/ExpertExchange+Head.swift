/// What rank 0 needs to have other ranks find peaks.
struct HeadSharing {
    let placement: HeadPlacement
    var message: Scratch<UInt8>
    var received: Scratch<Peak>
    var isAdjusted: [Bool] = []  // [tiles]
    var here: [Int] = []  // tiles
    var isAsked: [Bool] = []  // [ranks]

    init(_ placement: HeadPlacement, in budget: MemoryBudget?) {
        self.placement = placement
        message = Scratch(in: budget)
        received = Scratch(in: budget)
    }

    /// Whether a rank has a tile that it can judge.
    func isOfUse(_ rank: Int) -> Bool { placement.tiles(of: rank).contains { !isAdjusted[$0] } }

    /// Notes who judges which tile.
    mutating func divide(_ adjust: [LogitAdjustment]) throws(LLaDAError) {
        let tiles = placement.tiles
        try isAdjusted.refill(tiles, with: false, room: tiles)
        for adjustment in adjust {
            adjustment.eachToken { token in
                let tile = token / HeadPlacement.tile
                if token >= 0, tile < tiles { isAdjusted[tile] = true }
            }
        }
        try isAsked.refill(placement.size, with: false, room: placement.size)
        try here.reserve(tiles)
        here.removeAll(keepingCapacity: true)
        for rank in 0..<placement.size {
            isAsked[rank] = rank > 0 && isOfUse(rank)
            for tile in placement.tiles(of: rank) where !isAsked[rank] || isAdjusted[tile] { here.append(tile) }
        }
    }
}

extension ExpertExchange {
    /// Has other ranks find the peaks of their tiles without an adjusted token, while `here` judges the rest. x:
    /// f32 [adjust.count, hidden]; prepared: [adjust.count] as the head takes them; peaks: [tiles, adjust.count]
    func findPeaks(
        _ x: UnsafePointer<Float>, prepared: Operand, _ adjust: [LogitAdjustment], room: Int,
        into peaks: UnsafeMutablePointer<Peak>, here: (UnsafeBufferPointer<Int>?) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        let rows = adjust.count
        let placement = head.placement
        if rows == 0 || placement.tiles(of: 0).count == placement.tiles { return try here(nil) }
        try cluster.withTurn { (traffic) throws(LLaDAError) in
            try head.divide(adjust)
            if !head.isAsked.contains(true) { return try here(nil) }
            try traffic.checkOthers()
            try traffic.reserve(2 * placement.size)
            let received = try head.received.reserve(placement.tiles * max(room, rows))
            try ask(x, prepared, rows: rows, room: max(room, rows), received, traffic)
            traffic.push()
            var failure: LLaDAError?
            head.here.withUnsafeBufferPointer { tiles in
                do throws(LLaDAError) { try here(tiles) } catch { failure = error }
            }
            try traffic.finishAll()
            if let failure { throw failure }
            for rank in 1..<placement.size where head.isAsked[rank] {
                for tile in placement.tiles(of: rank) where !head.isAdjusted[tile] {
                    let vocabulary = placement.vocabulary(ofTile: tile)
                    for place in tile * rows..<(tile + 1) * rows {
                        guard vocabulary.contains(Int(received[place].token)) else {
                            throw LLaDAError(
                                .cluster,
                                "\(traffic.name(rank)) sent token \(received[place].token); expected \(vocabulary)")
                        }
                        peaks[place] = received[place]
                    }
                }
            }
        }
    }

    /// Sends the states, and begins to receive the peaks.  received: [tiles, rows]
    private func ask(
        _ x: UnsafePointer<Float>, _ prepared: Operand, rows: Int, room: Int, _ received: UnsafeMutablePointer<Peak>,
        _ traffic: Traffic
    ) throws(LLaDAError) {
        let floats = HeadOrder(rows: rows, isPrepared: false, rowBytes: config.hiddenSize * MemoryLayout<Float>.size)
        let packed = HeadOrder(rows: rows, isPrepared: true, rowBytes: prepared.stride)
        guard max(floats.byteCount, packed.byteCount) <= LayerOrder.mostBytes else {
            throw LLaDAError(.cluster, "\(rows) rows at once are more than a message of a cluster may have")
        }
        // One message for the ranks of each kind.
        let most = 2 * HeadOrder.headBytes + room * (floats.rowBytes + packed.rowBytes)
        let base = UnsafeMutableRawPointer(try head.message.reserve(most))
        let other = base + packed.byteCount
        packed.write(to: base)
        (base + HeadOrder.headBytes).copyMemory(from: prepared.base, byteCount: rows * packed.rowBytes)
        floats.write(to: other)
        (other + HeadOrder.headBytes).copyMemory(from: x, byteCount: rows * floats.rowBytes)
        for rank in 1..<head.placement.size where head.isAsked[rank] {
            let tiles = head.placement.tiles(of: rank)
            let answer = UnsafeMutableRawBufferPointer(
                start: received + tiles.lowerBound * rows, count: tiles.count * rows * MemoryLayout<Peak>.stride)
            _ = try traffic.receive(answer, from: rank, Subject.peaks)
            let message =
                takesPrepared[rank]
                ? UnsafeRawBufferPointer(start: base, count: packed.byteCount)
                : UnsafeRawBufferPointer(start: other, count: floats.byteCount)
            try traffic.send(message, to: rank, Subject.order)
        }
    }
}
