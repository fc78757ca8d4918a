import Kernels

/// The sums of the experts' outputs of a layer, as they go from rank to rank.
///
/// Rank 0 begins the sum of each row with its own experts, which are the lowest. The sum then visits the ranks that
/// have an expert of the row, by rank, and returns to rank 0: so it is the sum that one host makes, in the same order.
/// The rows go in chunks, and all ranks are at work on different chunks.
struct ExpertSums {
    private let hidden: Int
    private let rank: Int
    private let placement: ExpertPlacement
    /// What comes and goes between this rank and another, of one chunk.
    private struct Lane {
        let chunk: Int
        let peer: Int
        let first: Int  // place among the rows that come or go
        let count: Int
        var transfer = 0
    }
    private var incoming: [Lane] = []
    private var outgoing: [Lane] = []
    private var before: [Int] = []  // [rows]: the rank that a row comes from; -1: none
    private var after: [Int] = []  // [rows]: the rank that it goes to; -1: none
    private var placeIn: [Int] = []  // [rows]: its place among those that come
    private var placeOut: [Int] = []  // [rows]
    private var received: Scratch<Float>  // [rows, hidden]
    private var sent: Scratch<Float>  // [rows, hidden]
    private var receivedBase: UnsafeMutablePointer<Float>
    private var sentBase: UnsafeMutablePointer<Float>

    /// The bytes that a message should have at least, and the number of chunks that are enough to keep ranks busy.
    private static let leastBytes = 32 << 10
    private static let mostChunks = 8

    init(_ placement: ExpertPlacement, rank: Int, hidden: Int, in budget: MemoryBudget?) throws(LLaDAError) {
        self.placement = placement
        self.rank = rank
        self.hidden = hidden
        received = Scratch(in: budget)
        sent = Scratch(in: budget)
        receivedBase = try received.reserve(1)
        sentBase = try sent.reserve(1)
    }

    /// Returns the rows of a chunk, of so many in the layer.
    static func chunk(rows: Int, hidden: Int) -> Int {
        max(1, (leastBytes + hidden * 4 - 1) / (hidden * 4), (rows + mostChunks - 1) / mostChunks)
    }

    /// Plans the ways of some rows of a layer, whose numbers in the layer increase, and makes room for `room` rows.
    /// numbers: [rows]; experts: [rows, k]
    mutating func plan(
        _ numbers: UnsafeBufferPointer<Int32>, _ experts: UnsafePointer<Int32>, layer: Int, k: Int, chunk: Int,
        room: Int
    ) throws(LLaDAError) {
        let rows = numbers.count
        let room = max(room, rows)
        receivedBase = try received.reserve(room * hidden)
        sentBase = try sent.reserve(room * hidden)
        try before.refill(rows, with: -1, room: room)
        try after.refill(rows, with: -1, room: room)
        try placeIn.refill(rows, with: 0, room: room)
        try placeOut.refill(rows, with: 0, room: room)
        for row in 0..<rows {
            // Experts increase, and so do their ranks. Rank 0 is before and after all others.
            var (last, lower, higher) = (0, 0, 0)
            for slot in row * k..<(row + 1) * k {
                last = placement.rank(of: Int(experts[slot]), layer: layer)
                if last < rank { lower = last }
                if last > rank, higher == 0 { higher = last }
            }
            before[row] = rank > 0 ? lower : last > 0 ? last : -1
            after[row] = rank > 0 || higher > 0 ? higher : -1
        }
        try Self.lanes(numbers, before, chunk, placement.size, into: &incoming, &placeIn)
        try Self.lanes(numbers, after, chunk, placement.size, into: &outgoing, &placeOut)
    }

    private static func lanes(
        _ numbers: UnsafeBufferPointer<Int32>, _ peers: [Int], _ chunk: Int, _ size: Int, into lanes: inout [Lane],
        _ places: inout [Int]
    ) throws(LLaDAError) {
        lanes.removeAll(keepingCapacity: true)
        var (start, place) = (0, 0)
        while start < numbers.count {
            let number = Int(numbers[start]) / chunk
            var end = start
            while end < numbers.count, Int(numbers[end]) / chunk == number { end += 1 }
            for peer in 0..<size {
                let first = place
                for row in start..<end where peers[row] == peer {
                    places[row] = place
                    place += 1
                }
                if place > first {
                    try lanes.makeRoom()
                    lanes.append(Lane(chunk: number, peer: peer, first: first, count: place - first))
                }
            }
            start = end
        }
    }

    /// The number of messages of the layer.
    var messages: Int { incoming.count + outgoing.count }

    private func bytes(_ base: UnsafeMutablePointer<Float>, _ lane: Lane) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: base + lane.first * hidden, count: lane.count * hidden * MemoryLayout<Float>.size)
    }

    /// Begins to receive all that will come.
    mutating func receive(_ traffic: Traffic, _ subject: Int32) throws(LLaDAError) {
        for index in incoming.indices {
            incoming[index].transfer = try traffic.receive(
                bytes(receivedBase, incoming[index]), from: incoming[index].peer, subject)
        }
    }

    /// Adds this rank's outputs to the rows, chunk by chunk, and sends them on. `add` adds the outputs of a row's
    /// experts here to its sum; on rank 0 the sum begins there. Rows that go nowhere stay in `sums`.  sums: [rows,
    /// hidden]
    func pass(
        _ numbers: UnsafeBufferPointer<Int32>, chunk: Int, _ traffic: Traffic, _ subject: Int32, _ team: ThreadTeam,
        sums: UnsafeMutablePointer<Float>, add: (_ row: Int, _ sum: UnsafeMutablePointer<Float>) -> Void
    ) throws(LLaDAError) {
        var (start, nextIn, nextOut) = (0, 0, 0)
        while start < numbers.count {
            let number = Int(numbers[start]) / chunk
            var end = start
            while end < numbers.count, Int(numbers[end]) / chunk == number { end += 1 }
            if rank > 0 {
                while nextIn < incoming.count, incoming[nextIn].chunk == number {
                    try traffic.finish(incoming[nextIn].transfer)
                    nextIn += 1
                }
            }
            let first = start
            team.forEach(end - start) { index, _ in
                let row = first + index
                let target = after[row] >= 0 ? sentBase + placeOut[row] * hidden : sums + row * hidden
                if rank > 0 {
                    target.update(from: receivedBase + placeIn[row] * hidden, count: hidden)
                } else {
                    target.update(repeating: 0, count: hidden)
                }
                add(row, target)
            }
            while nextOut < outgoing.count, outgoing[nextOut].chunk == number {
                let lane = outgoing[nextOut]
                try traffic.send(UnsafeRawBufferPointer(bytes(sentBase, lane)), to: lane.peer, subject)
                nextOut += 1
            }
            start = end
        }
    }

    /// Waits, on rank 0, for the sums that have come back.  sums: [rows, hidden]
    func collect(_ traffic: Traffic, into sums: UnsafeMutablePointer<Float>) throws(LLaDAError) {
        for lane in incoming { try traffic.finish(lane.transfer) }
        for row in before.indices where before[row] >= 0 {
            (sums + row * hidden).update(from: receivedBase + placeIn[row] * hidden, count: hidden)
        }
    }
}
