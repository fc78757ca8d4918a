/// The changes to a row's logits before they are judged: tokens taken out, and one made less likely.
package struct LogitAdjustment {
    var banned: [Int32] = []
    var penalty: (token: Int32, amount: Float)?

    package init(banned: [Int32] = []) { self.banned = banned }

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
