/// What the host adds to logits, by tokens: at all positions, and at single ones in addition.
struct Biases {
    /// The largest amount: far from where a logit would overflow.
    static let largest: Float = 1e30

    private(set) var everywhere: [Int32: Float] = [:]
    private(set) var at: [Int: [Int32: Float]] = [:]  // by position
    private var everywhereList: [LogitBias] = []
    private var lists: [Int: [LogitBias]] = [:]  // by position, of all that is added there

    /// The number of biases, those of all positions counted at each position that has some of its own.
    var count: Int { at.values.reduce(everywhere.count) { $0 + $1.count + everywhere.count + 4 } }

    /// Returns what is added at a position, by increasing tokens.
    func list(at position: Int) -> [LogitBias] {
        lists.isEmpty ? everywhereList : lists[position] ?? everywhereList
    }

    /// Sets what is added to a token's logit at `position`, or at all positions with nil. 0 adds nothing.
    mutating func set(_ token: Int32, at position: Int?, to amount: Float) {
        let value = amount == 0 ? nil : amount
        if let position {
            at[position, default: [:]][token] = value
            if at[position]?.isEmpty == true { at[position] = nil }
        } else {
            everywhere[token] = value
        }
        everywhereList = Self.sorted(everywhere)
        lists = at.mapValues { Self.sorted(everywhere.merging($0, uniquingKeysWith: +)) }
    }

    /// Replaces all; for snapshots.
    init(everywhere: [Int32: Float] = [:], at: [Int: [Int32: Float]] = [:]) {
        self.everywhere = everywhere
        self.at = at
        everywhereList = Self.sorted(everywhere)
        lists = at.mapValues { Self.sorted(everywhere.merging($0, uniquingKeysWith: +)) }
    }

    static func sorted(_ biases: [Int32: Float]) -> [LogitBias] {
        biases.sorted { $0.key < $1.key }.map { LogitBias(token: $0.key, amount: $0.value) }
    }
}
