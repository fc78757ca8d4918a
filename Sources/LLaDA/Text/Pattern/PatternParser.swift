/// A parser of the regular expression of a `Split` pre-tokenizer. It follows Oniguruma, the engine inside Hugging Face
/// `tokenizers`.
package struct PatternParser {
    /// A construct that is not understood, or is not allowed at its place.
    package struct Refusal: Error {
        package let construct: String
    }

    private let scalars: [Unicode.Scalar]
    private var position = 0
    private var depth = 0
    private static let maximumDepth = 32
    package static let maximumCount = 1000

    package static func parse(_ pattern: String) throws(Refusal) -> PatternNode {
        var parser = PatternParser(scalars: Array(pattern.unicodeScalars))
        let node = try parser.alternation(ignoringCase: false)
        if parser.position < parser.scalars.count { throw Refusal(construct: "an unmatched )") }
        if node.isNullable { throw Refusal(construct: "a pattern that matches the empty string") }
        return node
    }

    private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

    private var next: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private func follows(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes in
            scalars.count - position >= bytes.count
                && bytes.indices.allSatisfy { scalars[position + $0].value == UInt32(bytes[$0]) }
        }
    }

    private mutating func take(_ text: StaticString) -> Bool {
        guard follows(text) else { return false }
        position += text.utf8CodeUnitCount
        return true
    }

    private mutating func alternation(ignoringCase: Bool) throws(Refusal) -> PatternNode {
        var choices = [try sequence(ignoringCase: ignoringCase)]
        while take("|") { choices.append(try sequence(ignoringCase: ignoringCase)) }
        guard choices.count > 1 else { return choices[0] }
        // An alternation of sets is their union: one set is faster, and can be repeated.
        if depth > 0, case .set(var union) = choices[0] {
            var whole = true
            for choice in choices.dropFirst() {
                guard case .set(let set) = choice, union.formUnion(set) else {
                    whole = false
                    break
                }
            }
            if whole { return .set(union) }
        }
        return .alternation(choices)
    }

    private mutating func sequence(ignoringCase: Bool) throws(Refusal) -> PatternNode {
        var parts: [PatternNode] = []
        var lastLetter: UInt8?  // the last plain literal, for the check below
        while let scalar = next, scalar != "|", scalar != ")" {
            let letter = ignoringCase ? lowercaseLetter(scalar) : nil
            if let last = lastLetter, let letter, Self.foldsTogether(last, letter) {
                // Oniguruma would match "ß", "ﬁ" and the like here: one scalar for two letters.
                throw Refusal(construct: "a case-insensitive \(Unicode.Scalar(last))\(Unicode.Scalar(letter))")
            }
            lastLetter = letter
            let part = try atom(ignoringCase: ignoringCase)
            let repeated = try quantified(part)
            if case .repetition = repeated { lastLetter = nil }
            parts.append(repeated)
        }
        return parts.count == 1 ? parts[0] : .sequence(parts)
    }

    private func lowercaseLetter(_ scalar: Unicode.Scalar) -> UInt8? {
        let folded = scalar.value | 0x20
        return folded >= 0x61 && folded <= 0x7A ? UInt8(folded) : nil
    }

    private static func foldsTogether(_ first: UInt8, _ second: UInt8) -> Bool {
        let pair = [first, second]
        return ["ss", "st", "ff", "fi", "fl"].contains { Array($0.utf8) == pair }
    }

    private mutating func atom(ignoringCase: Bool) throws(Refusal) -> PatternNode {
        if take("(?:") { return try group(ignoringCase: ignoringCase) }
        if take("(?i:") { return try group(ignoringCase: true) }
        if take("(?=") { return try lookahead(negated: false, ignoringCase: ignoringCase) }
        if take("(?!") { return try lookahead(negated: true, ignoringCase: ignoringCase) }
        guard let scalar = next else { throw Refusal(construct: "an unexpected end") }
        switch scalar {
        case "(":
            let end = min(position + 4, scalars.count)
            throw Refusal(construct: "the group \(text(position..<end))…")
        case "[": return .set(try bracket(ignoringCase: ignoringCase))
        case ".", "^", "$", "*", "+", "?", "{": throw Refusal(construct: "\(scalar) at this place")
        case "\\":
            switch try escape(ignoringCase: ignoringCase) {
            case .set(let set): return .set(set)
            case .scalar(let scalar): return .set(try literal(scalar, ignoringCase: ignoringCase))
            }
        default:
            position += 1
            return .set(try literal(scalar, ignoringCase: ignoringCase))
        }
    }

    private mutating func group(ignoringCase: Bool) throws(Refusal) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.maximumDepth { throw Refusal(construct: "groups nested deeper than \(Self.maximumDepth)") }
        let body = try alternation(ignoringCase: ignoringCase)
        if !take(")") { throw Refusal(construct: "an unclosed group") }
        return body
    }

    private mutating func lookahead(negated: Bool, ignoringCase: Bool) throws(Refusal) -> PatternNode {
        guard case .set(let set) = try group(ignoringCase: ignoringCase) else {
            throw Refusal(construct: "a lookahead that is not for a single character")
        }
        return .ahead(set, negated: negated)
    }

    // MARK: Quantifiers

    private mutating func quantified(_ node: PatternNode) throws(Refusal) -> PatternNode {
        guard let sign = next else { return node }
        let start = position
        var range: (minimum: Int, maximum: Int?)
        switch sign {
        case "?": range = (0, 1)
        case "*": range = (0, nil)
        case "+": range = (1, nil)
        case "{": range = try interval()
        default: return node
        }
        if sign != "{" { position += 1 }
        // In Oniguruma's default syntax "{1,3}+" repeats the repetition. Only ?, * and + have a possessive form.
        let possessive = sign != "{" && take("+")
        if let after = next, after == "?" || after == "*" || after == "+" || after == "{" {
            throw Refusal(construct: "the quantifier \(text(start..<position + 1))")
        }
        switch node {
        case .set: break
        case .ahead: throw Refusal(construct: "a repeated lookahead")
        default:
            // A group is unrolled, which bounds the work. Tokenizers repeat only single scalars without end.
            if range.maximum == nil || possessive {
                throw Refusal(construct: "the quantifier \(text(start..<position)) on a group")
            }
        }
        return .repetition(node, minimum: range.minimum, maximum: range.maximum, possessive: possessive)
    }

    private mutating func interval() throws(Refusal) -> (minimum: Int, maximum: Int?) {
        let start = position
        position += 1
        let minimum = number()
        var maximum = minimum
        if take(",") { maximum = next == "}" ? nil : number() ?? -1 }
        guard let minimum, take("}"), minimum <= Self.maximumCount,
            maximum.map({ $0 >= max(minimum, 1) && $0 <= Self.maximumCount }) ?? true
        else { throw Refusal(construct: "the quantifier \(text(start..<min(start + 12, scalars.count)))") }
        return (minimum, maximum)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = next, digit.value >= 0x30, digit.value <= 0x39 {
            value = min((value ?? 0) * 10 + Int(digit.value - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    // MARK: Sets

    private enum Escape {
        case set(PatternSet)
        case scalar(Unicode.Scalar)
    }

    private func literal(_ scalar: Unicode.Scalar, ignoringCase: Bool) throws(Refusal) -> PatternSet {
        var set = PatternSet()
        set.insert(scalar.value...scalar.value)
        if ignoringCase { try foldCase(&set) }
        return set
    }

    /// Adds the other case of each letter. Only ASCII is supported; there, Unicode case folding adds U+017F and U+212A.
    private func foldCase(_ set: inout PatternSet) throws(Refusal) {
        guard set.isASCIIOnly else { throw Refusal(construct: "a case-insensitive set beyond ASCII") }
        for lower in 0x61...0x7A {
            let upper = lower - 0x20
            guard set.ascii.contains(lower) || set.ascii.contains(upper) else { continue }
            set.ascii.insert(lower)
            set.ascii.insert(upper)
            if lower == 0x73 { set.insert(0x17F...0x17F) }  // ſ folds to s
            if lower == 0x6B { set.insert(0x212A...0x212A) }  // the Kelvin sign folds to k
        }
    }

    private mutating func escape(ignoringCase: Bool) throws(Refusal) -> Escape {
        let start = position
        position += 1
        guard let letter = next else { throw Refusal(construct: "a trailing \\") }
        position += 1
        var set = PatternSet()
        switch letter {
        case "r": return .scalar("\r")
        case "n": return .scalar("\n")
        case "t": return .scalar("\t")
        case "f": return .scalar("\u{C}")
        case "s", "S": set.insert { $0.isWhitespace }
        case "d", "D": set.insert { $0.category == .decimalNumber }
        case "w", "W":
            if ignoringCase { throw Refusal(construct: "\\\(letter) ignoring case") }
            set.insert { $0.isWord }
        case "p", "P":
            set = try property()
            if ignoringCase { throw Refusal(construct: "\(text(start..<position)) ignoring case") }
        default:
            guard letter.value < 0x80, !letter.properties.isAlphabetic, letter.value < 0x30 || letter.value > 0x39,
                letter.value > 0x20, letter.value != 0x7F
            else { throw Refusal(construct: "the escape \(text(start..<position))") }
            return .scalar(letter)
        }
        if "SDWP".unicodeScalars.contains(letter) { set.complement() }
        return .set(set)
    }

    /// Parses `{L}` or `{Lu}`: a general category, or the union of those with this first letter.
    private mutating func property() throws(Refusal) -> PatternSet {
        let start = position
        var name = ""
        if take("{") {
            while let scalar = next, scalar != "}", name.unicodeScalars.count < 32 {
                name.unicodeScalars.append(scalar)
                position += 1
            }
            if !take("}") { name = "" }
        }
        let categories = ScalarTable.Category.allCases.filter { category in
            name.utf8.count == 1 || name.utf8.count == 2
                ? category.abbreviation.utf8.starts(with: name.utf8) : false
        }
        guard !categories.isEmpty else {
            throw Refusal(construct: "the property \\p\(text(start..<min(position, scalars.count)))")
        }
        var set = PatternSet()
        set.insert { categories.contains($0.category) }
        return set
    }

    private mutating func bracket(ignoringCase: Bool) throws(Refusal) -> PatternSet {
        position += 1
        let negated = take("^")
        var set = PatternSet()
        var isEmpty = true
        while true {
            guard let scalar = next else { throw Refusal(construct: "an unclosed [") }
            if scalar == "]" {
                if isEmpty { throw Refusal(construct: "a ] at the beginning of a set") }
                position += 1
                break
            }
            if scalar == "[" || follows("&&") { throw Refusal(construct: "\(scalar) inside a set") }
            if follows("-"), !isEmpty, !follows("-]") { throw Refusal(construct: "a - in the middle of a set") }
            isEmpty = false
            switch try member(ignoringCase: ignoringCase) {
            case .set(let member):
                guard set.formUnion(member) else { throw Refusal(construct: "this mixture of sets") }
                if follows("-"), !follows("-]") { throw Refusal(construct: "a range that begins with a set") }
            case .scalar(let first):
                guard follows("-"), !follows("-]") else {
                    set.insert(first.value...first.value)
                    break
                }
                position += 1
                guard next != "[", case .scalar(let last) = try member(ignoringCase: ignoringCase),
                    first.value <= last.value
                else { throw Refusal(construct: "a range that ends with a set or before it begins") }
                set.insert(first.value...last.value)
            }
        }
        if ignoringCase { try foldCase(&set) }
        if negated { set.complement() }
        return set
    }

    private mutating func member(ignoringCase: Bool) throws(Refusal) -> Escape {
        guard let scalar = next else { throw Refusal(construct: "an unclosed [") }
        if scalar == "\\" { return try escape(ignoringCase: ignoringCase) }
        position += 1
        return .scalar(scalar)
    }

    private func text(_ range: Range<Int>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars[range.clamped(to: 0..<scalars.count)])
        return String(view)
    }
}
