/// A number that is added to the logit of a token.
package struct LogitBias: BitwiseCopyable, Equatable {
    package let token: Int32
    package let amount: Float

    package init(token: Int32, amount: Float) {
        self.token = token
        self.amount = amount
    }
}

/// The changes to a row's logits before they are judged: numbers added, tokens taken out, and one made less likely.
package struct LogitAdjustment: Equatable {
    /// The position that the row is about, for messages.
    package var position = 0
    /// The tokens that the host has taken out.
    package var banned: [Int32] = []
    /// What the host adds, for each token once.
    package var biases: [LogitBias] = []
    /// The token that the policy has taken out.
    private var bannedToo: Int32?
    package var penalty: (token: Int32, amount: Float)?

    package init(position: Int = 0, banned: [Int32] = [], biases: [LogitBias] = []) {
        self.position = position
        self.banned = banned
        self.biases = biases
    }

    /// Takes out one more token. A policy may take out one.
    package mutating func ban(_ token: Int32) { bannedToo = token }

    /// All tokens taken out.
    package var allBanned: [Int32] { bannedToo.map { banned + [$0] } ?? banned }
    package var isEmpty: Bool { banned.isEmpty && biases.isEmpty && bannedToo == nil && penalty == nil }

    package static func == (a: LogitAdjustment, b: LogitAdjustment) -> Bool {
        a.position == b.position && a.banned == b.banned && a.biases == b.biases && a.bannedToo == b.bannedToo
            && a.penalty?.token == b.penalty?.token && a.penalty?.amount == b.penalty?.amount
    }

    /// Adjusts the logits of `vocabulary`.  row: [vocabulary.count]
    package func apply(to row: UnsafeMutablePointer<Float>, _ vocabulary: Range<Int>) {
        for bias in biases where vocabulary.contains(Int(bias.token)) {
            row[Int(bias.token) - vocabulary.lowerBound] += bias.amount
        }
        if let penalty, vocabulary.contains(Int(penalty.token)) {
            row[Int(penalty.token) - vocabulary.lowerBound] -= penalty.amount
        }
        for token in banned where vocabulary.contains(Int(token)) {
            row[Int(token) - vocabulary.lowerBound] = -.infinity
        }
        if let bannedToo, vocabulary.contains(Int(bannedToo)) {
            row[Int(bannedToo) - vocabulary.lowerBound] = -.infinity
        }
    }
}
