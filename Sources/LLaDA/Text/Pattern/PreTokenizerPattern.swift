/// A compiled pattern: for each top-level alternative a straight-line program with choices. Its only loops are loops
/// over one set.
///
/// Only single scalars are repeated without end, so a program has no backward jumps. A path runs each instruction at
/// most once, the stack of choices is never deeper than the program is long, and nothing recurses over the text.
package struct PreTokenizerPattern: Sendable {
    struct Instruction: Sendable {
        enum Operation: UInt8, Sendable {
            case set, loop, ahead, notAhead, choose, jump, match
        }
        var operation: Operation
        var possessive = false
        /// An index into `sets`.
        var set: Int32 = 0
        var minimum: Int32 = 0
        /// The most repetitions; `Int32.max` means without end.
        var maximum: Int32 = 0
        /// The target of `jump`, and of `choose` when what follows it fails.
        var target: Int32 = 0
    }

    /// A `PatternSet` without references; its ranges are in the shared array.
    struct FlatSet: Sendable {
        var ascii: Bits128
        var properties: Bits128
        var firstRange: Int32
        var rangeCount: Int32
        var negated: Bool
    }

    private(set) var instructions: [Instruction] = []
    private(set) var sets: [FlatSet] = []
    private(set) var ranges: [ClosedRange<UInt32>] = []
    /// The start of the program of each alternative.
    private(set) var entries: [Int32] = []
    /// The alternatives that can begin with each first byte, as bits. Most are ruled out without running them.  [256]
    private(set) var candidates: [UInt64] = []

    private static let maximumLength = 4096

    /// Compiles `pattern`. `key` and `file` say in an error where it stands. Throws `.unsupported`.
    package init(_ pattern: String, file: String, key: String) throws(LLaDAError) {
        let node: PatternNode
        do {
            node = try PatternParser.parse(pattern)
        } catch {
            throw LLaDAError(
                .unsupported,
                "\(file): \(key) is the pattern \(JSONString(pattern).quoted), which uses \(error.construct); "
                    + "expected the constructs of GPT-2, cl100k, Qwen2, Llama 3 and Ling patterns")
        }
        guard compile(top: node) else {
            throw LLaDAError(
                .unsupported, file: file, key: key, found: "the pattern \(JSONString(pattern).quoted)",
                expected: "at most 64 alternatives and \(Self.maximumLength) instructions")
        }
    }

    /// Compiles the pattern that matches `text` itself. Throws `.unsupported`.
    package init(literal text: String, file: String, key: String) throws(LLaDAError) {
        let parts = text.unicodeScalars.map { scalar in
            var set = PatternSet()
            set.insert(scalar.value...scalar.value)
            return PatternNode.set(set)
        }
        guard !parts.isEmpty, compile(top: .sequence(parts)) else {
            throw LLaDAError(
                .unsupported, file: file, key: key, found: JSONString(text).quoted,
                expected: "a string of 1 to \(Self.maximumLength - 1) characters")
        }
    }

    private mutating func compile(top node: PatternNode) -> Bool {
        let choices: [PatternNode] = if case .alternation(let choices) = node { choices } else { [node] }
        guard choices.count <= 64 else { return false }
        candidates = Array(repeating: 0, count: 256)
        for (number, choice) in choices.enumerated() {
            entries.append(Int32(instructions.count))
            guard append(choice) else { return false }
            instructions.append(Instruction(operation: .match))
            var first = FirstBytes()
            if first.add(choice) { first = .any }
            for byte in 0..<256 where byte < 0x80 ? first.ascii.contains(byte) : first.beyondASCII {
                candidates[byte] |= 1 << UInt64(number)
            }
        }
        return true
    }

    /// Appends the code of `node`. Returns false if the program becomes too long.
    private mutating func append(_ node: PatternNode) -> Bool {
        guard instructions.count < Self.maximumLength else { return false }
        switch node {
        case .set(let set):
            instructions.append(Instruction(operation: .set, set: index(of: set)))
        case .ahead(let set, let negated):
            instructions.append(Instruction(operation: negated ? .notAhead : .ahead, set: index(of: set)))
        case .sequence(let parts):
            for part in parts where !append(part) { return false }
        case .alternation(let choices):
            var jumps: [Int] = []
            for (number, choice) in choices.enumerated() {
                let place = instructions.count
                let isLast = number == choices.count - 1
                if !isLast { instructions.append(Instruction(operation: .choose)) }
                guard append(choice) else { return false }
                if !isLast {
                    jumps.append(instructions.count)
                    instructions.append(Instruction(operation: .jump))
                    instructions[place].target = Int32(instructions.count)
                }
            }
            for jump in jumps { instructions[jump].target = Int32(instructions.count) }
        case .repetition(.set(let set), let minimum, let maximum, let possessive):
            instructions.append(
                Instruction(
                    operation: .loop, possessive: possessive, set: index(of: set), minimum: Int32(minimum),
                    maximum: maximum.map { Int32($0) } ?? .max))
        case .repetition(let body, let minimum, let maximum, _):
            guard let maximum else { return false }  // the parser refuses such a repetition
            var choices: [Int] = []
            for round in 0..<maximum {
                if round >= minimum {
                    choices.append(instructions.count)
                    instructions.append(Instruction(operation: .choose))
                }
                guard append(body) else { return false }
            }
            for choice in choices { instructions[choice].target = Int32(instructions.count) }
        }
        return true
    }

    private mutating func index(of set: PatternSet) -> Int32 {
        sets.append(
            FlatSet(
                ascii: set.ascii, properties: set.properties, firstRange: Int32(ranges.count),
                rangeCount: Int32(set.ranges.count), negated: set.negated))
        ranges += set.ranges
        return Int32(sets.count - 1)
    }
}

/// The ASCII bytes that a match can begin with, and whether it can begin beyond ASCII.
private struct FirstBytes {
    var ascii = Bits128.empty
    var beyondASCII = false

    static let any = FirstBytes(ascii: Bits128(low: .max, high: .max), beyondASCII: true)

    /// Adds the first bytes of `node`. Returns true if the node can be empty, so that what follows it counts too.
    mutating func add(_ node: PatternNode) -> Bool {
        switch node {
        case .set(let set):
            ascii.formUnion(set.ascii)
            if !set.isASCIIOnly { beyondASCII = true }
            return false
        case .ahead: return true
        case .sequence(let parts):
            for part in parts where !add(part) { return false }
            return true
        case .alternation(let choices):
            var empty = false
            for choice in choices where add(choice) { empty = true }
            return empty
        case .repetition(let body, let minimum, _, _):
            return add(body) || minimum == 0
        }
    }
}
