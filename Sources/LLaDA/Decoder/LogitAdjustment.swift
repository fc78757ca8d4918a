/// The changes to a row's logits before they are judged: tokens taken out, and one made less likely.
package struct LogitAdjustment {
    /// The position that the row is about, for messages.
    var position = 0
    var banned: [Int32] = []
    var penalty: (token: Int32, amount: Float)?

    package init(position: Int = 0, banned: [Int32] = []) {
        self.position = position
        self.banned = banned
    }

    var isEmpty: Bool { banned.isEmpty && penalty == nil }

    /// Adjusts the logits of `vocabulary`.  row: [vocabulary.count]
    func apply(to row: UnsafeMutablePointer<Float>, _ vocabulary: Range<Int>) {
        if let penalty, vocabulary.contains(Int(penalty.token)) {
            row[Int(penalty.token) - vocabulary.lowerBound] -= penalty.amount
        }
        for token in banned where vocabulary.contains(Int(token)) {
            row[Int(token) - vocabulary.lowerBound] = -.infinity
        }
    }
}
