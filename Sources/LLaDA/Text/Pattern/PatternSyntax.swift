/// The syntax tree of the regular expressions with which byte-level BPE tokenizers cut text into pieces.
///
/// `tokenizer.json` carries the expression, so it cannot be hard-coded, but the whole regex language is not needed
/// either. The tree covers the constructs of GPT-2, cl100k, Qwen2, Llama 3 and Ling. Any other construct is refused by
/// name.
package indirect enum PatternNode: Sendable {
    /// Exactly one scalar of the set.
    case set(PatternSet)
    case sequence([PatternNode])
    case alternation([PatternNode])
    /// A greedy repetition; a `maximum` of nil means without end. With `possessive` it never gives back what it took.
    case repetition(PatternNode, minimum: Int, maximum: Int?, possessive: Bool)
    /// A lookahead: the next scalar is in the set, or, negated, is not. It consumes nothing. The end of the text is in
    /// no set.
    case ahead(PatternSet, negated: Bool)

    /// Whether the node can match without consuming anything.
    var isNullable: Bool {
        switch self {
        case .set: false
        case .ahead: true
        case .sequence(let parts): parts.allSatisfy(\.isNullable)
        case .alternation(let choices): choices.contains(where: \.isNullable)
        case .repetition(let body, let minimum, _, _): minimum == 0 || body.isNullable
        }
    }
}

/// A set of scalars. For ASCII it is a bitmap over the scalars. Beyond ASCII it is a bitmap over `ScalarTable`
/// properties, plus explicit ranges, which a pattern rarely has.
package struct PatternSet: Sendable {
    var ascii: Bits128 = .empty
    var properties: Bits128 = .empty
    var ranges: [ClosedRange<UInt32>] = []
    /// Whether `ranges` and `properties` are negated; they cannot be complemented apart from each other. `ascii` is
    /// already final.
    var negated = false

    mutating func insert(_ range: ClosedRange<UInt32>) {
        if range.lowerBound < 0x80 {
            for value in range.lowerBound...min(range.upperBound, 0x7F) { ascii.insert(Int(value)) }
        }
        if range.upperBound >= 0x80 { ranges.append(max(range.lowerBound, 0x80)...range.upperBound) }
    }

    /// Inserts every scalar whose properties satisfy the predicate.
    mutating func insert(where predicate: (ScalarTable.Properties) -> Bool) {
        for value in 0..<128 {
            if let properties = ScalarTable.Properties(index: UInt8(value)), predicate(properties) {
                self.properties.insert(value)
            }
            if predicate(ScalarTable.computed(Unicode.Scalar(UInt8(value)))) { ascii.insert(value) }
        }
    }

    mutating func complement() {
        ascii.complement()
        negated.toggle()
    }

    /// Adds `other`. Returns false, and changes nothing, if one of the two sets is negated and has ranges.
    mutating func formUnion(_ other: PatternSet) -> Bool {
        guard let mine = withoutNegation, let theirs = other.withoutNegation else { return false }
        self = mine
        ascii.formUnion(theirs.ascii)
        properties.formUnion(theirs.properties)
        ranges += theirs.ranges
        return true
    }

    private var withoutNegation: PatternSet? {
        guard negated else { return self }
        guard ranges.isEmpty else { return nil }
        var result = self
        result.properties.complement()
        result.negated = false
        return result
    }

    /// Whether the set has no scalar beyond ASCII.
    var isASCIIOnly: Bool { !negated && properties == .empty && ranges.isEmpty }
}

package struct Bits128: Sendable, Equatable {
    var low: UInt64 = 0
    var high: UInt64 = 0

    static let empty = Bits128()

    @inline(__always)
    func contains(_ index: Int) -> Bool {
        (index & 64 == 0 ? low : high) >> UInt64(truncatingIfNeeded: index & 63) & 1 != 0
    }

    mutating func insert(_ index: Int) {
        if index & 64 == 0 { low |= 1 << UInt64(index & 63) } else { high |= 1 << UInt64(index & 63) }
    }

    mutating func complement() {
        low = ~low
        high = ~high
    }

    mutating func formUnion(_ other: Bits128) {
        low |= other.low
        high |= other.high
    }
}
