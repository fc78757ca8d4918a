/// The regular expressions that byte-level BPE tokenizers use to cut text into pieces: the tree and what it is made of.
///
/// `tokenizer.json` carries the expression, so it cannot be hard-coded; but the whole regex language is not needed
/// either. What is understood here is what GPT-2, cl100k, Qwen2, Llama 3 and Ling write; anything else is refused by
/// name.
package indirect enum PatternNode: Sendable {
    /// Exactly one scalar of the set.
    case set(PatternSet)
    case sequence([PatternNode])
    case alternation([PatternNode])
    /// Greedy; `maximum` nil means without end. `possessive` keeps what it took.
    case repetition(PatternNode, minimum: Int, maximum: Int?, possessive: Bool)
    /// The next scalar is (or, negated, is not) of the set; consumes nothing. The end of the text is in no set.
    case ahead(PatternSet, negated: Bool)

    /// True when the node can match without consuming anything.
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

/// A set of scalars. ASCII is a bitmap over the scalars themselves; beyond it, a bitmap over `ScalarTable` properties,
/// plus explicit ranges, which a pattern rarely has.
package struct PatternSet: Sendable {
    var ascii: Bits128 = .empty
    var properties: Bits128 = .empty
    var ranges: [ClosedRange<UInt32>] = []
    /// Applies to `ranges` and `properties`, which cannot be complemented apart from each other; `ascii` is already
    /// final.
    var negated = false

    mutating func insert(_ range: ClosedRange<UInt32>) {
        if range.lowerBound < 0x80 {
            for value in range.lowerBound...min(range.upperBound, 0x7F) { ascii.insert(Int(value)) }
        }
        if range.upperBound >= 0x80 { ranges.append(max(range.lowerBound, 0x80)...range.upperBound) }
    }

    /// Every scalar whose property byte satisfies the predicate.
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

    /// Only for sets that are not negated, or that have no ranges.
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

    /// True when no scalar beyond ASCII is in the set.
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
