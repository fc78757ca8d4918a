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

    /// Calls `body` with each token whose logit changes, some perhaps more than once.
    func eachToken(_ body: (Int) -> Void) {
        for bias in biases { body(Int(bias.token)) }
        for token in banned { body(Int(token)) }
        if let penalty { body(Int(penalty.token)) }
        if let bannedToo { body(Int(bannedToo)) }
    }

    /// The position and who has taken a token out make no difference.
    package static func == (a: LogitAdjustment, b: LogitAdjustment) -> Bool {
        let count = a.bannedCount
        guard count == b.bannedCount, a.biases == b.biases, a.penalty?.token == b.penalty?.token,
            a.penalty?.amount == b.penalty?.amount
        else { return false }
        if a.bannedToo == b.bannedToo { return a.banned == b.banned }
        return (0..<count).allSatisfy { a.bannedToken($0) == b.bannedToken($0) }
    }

    private var bannedCount: Int { banned.count + (bannedToo == nil ? 0 : 1) }
    private func bannedToken(_ index: Int) -> Int32? { index < banned.count ? banned[index] : bannedToo }

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
