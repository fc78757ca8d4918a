/// A run of a `PreTokenizerPattern` over one text: a backtracking matcher with a stack as deep as the program is long.
///
/// The text must be valid UTF-8. The matcher borrows everything and lives only as long as the closure of
/// `forEachPiece`.
package struct PatternMatcher {
    private typealias Instruction = PreTokenizerPattern.Instruction
    private typealias FlatSet = PreTokenizerPattern.FlatSet

    private let text: UnsafeBufferPointer<UInt8>
    private let code: UnsafeBufferPointer<Instruction>
    private let sets: UnsafeBufferPointer<FlatSet>
    private let ranges: UnsafeBufferPointer<ClosedRange<UInt32>>
    private let plane: UnsafeBufferPointer<UInt8>
    private let stack: UnsafeMutableBufferPointer<Choice>
    private let memory: UnsafeMutableBufferPointer<LoopMemory>

    /// The place to continue from when the current path fails.
    private struct Choice {
        var instruction: Int
        var position: Int
        /// For a loop: the lowest position it may give back to; `position` moves down to it. Unused for a choice.
        var lowest: Int
    }

    /// What is known about the last long run of a loop's set. Alternatives and later attempts meet the same run again
    /// and again (`\s*[\r\n]` in a megabyte of spaces), and this memory keeps the time linear in the text. The pattern
    /// has no captures and no lookbehind, so what follows a loop fails or succeeds at a position whatever path led
    /// there.
    private struct LoopMemory {
        var start = 0
        var end = 0
        /// What follows the loop fails at every position of the run from here to `end`.
        var failing = Int.max
    }

    /// The shortest run that is remembered: shorter runs are cheaper to walk.
    private static let longRun = 48

    /// Cuts `text` as Hugging Face's `Split` with behaviour "Isolated" does: every match is a piece, and so is the text
    /// between two matches. Pieces are never empty and cover the text.
    package static func forEachPiece(
        of text: UnsafeBufferPointer<UInt8>, _ pattern: PreTokenizerPattern, _ table: ScalarTable,
        _ body: (Range<Int>) -> Void
    ) {
        pattern.instructions.withUnsafeBufferPointer { code in
            pattern.sets.withUnsafeBufferPointer { sets in
                pattern.ranges.withUnsafeBufferPointer { ranges in
                    table.withPlane { plane in
                        withUnsafeTemporaryAllocation(of: Choice.self, capacity: code.count) { stack in
                            withUnsafeTemporaryAllocation(of: LoopMemory.self, capacity: code.count) { memory in
                                memory.initialize(repeating: LoopMemory())
                                let matcher = PatternMatcher(
                                    text: text, code: code, sets: sets, ranges: ranges, plane: plane, stack: stack,
                                    memory: memory)
                                pattern.entries.withUnsafeBufferPointer { entries in
                                    pattern.candidates.withUnsafeBufferPointer { candidates in
                                        matcher.run(entries, candidates, body)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func run(
        _ entries: UnsafeBufferPointer<Int32>, _ candidates: UnsafeBufferPointer<UInt64>, _ body: (Range<Int>) -> Void
    ) {
        var position = 0
        var unmatched = 0  // the begin of the gap before `position`
        while position < text.count {
            var left = candidates[Int(text[position])]
            var end = -1
            while left != 0, end < 0 {
                end = match(at: position, from: Int(entries[left.trailingZeroBitCount]))
                left &= left - 1
            }
            if end < 0 {
                position = after(position)
                continue
            }
            if unmatched < position { body(unmatched..<position) }
            body(position..<end)
            position = end
            unmatched = end
        }
        if unmatched < position { body(unmatched..<position) }
    }

    /// Returns the end of the match, or -1.
    private func match(at start: Int, from entry: Int) -> Int {
        var pc = entry
        var position = start
        var depth = 0
        while true {
            let instruction = code[pc]
            let failed: Bool
            switch instruction.operation {
            case .match: return position
            case .jump:
                pc = Int(instruction.target)
                continue
            case .choose:
                stack[depth] = Choice(instruction: pc, position: position, lowest: 0)
                depth += 1
                failed = false
            case .set:
                let next = step(sets[Int(instruction.set)], position)
                failed = next < 0
                if !failed { position = next }
            case .ahead: failed = step(sets[Int(instruction.set)], position) < 0
            case .notAhead: failed = step(sets[Int(instruction.set)], position) >= 0
            case .loop:
                let end = loop(pc, instruction, position, &depth)
                failed = end < 0
                if !failed { position = end }
            }
            if !failed {
                pc += 1
                continue
            }
            guard depth > 0 else { return -1 }
            let choice = stack[depth - 1]
            pc = choice.instruction
            if code[pc].operation == .choose {
                depth -= 1
                position = choice.position
                pc = Int(code[pc].target)
            } else {
                if memory[pc].start <= choice.position, choice.position <= memory[pc].end {
                    memory[pc].failing = min(memory[pc].failing, choice.position)
                }
                position = before(choice.position)
                if position > choice.lowest { stack[depth - 1].position = position } else { depth -= 1 }
                pc += 1
            }
        }
    }

    /// Runs a loop at `position` and returns its end, or -1. Pushes a choice if the loop could give something back.
    @inline(__always)
    private func loop(_ pc: Int, _ instruction: Instruction, _ position: Int, _ depth: inout Int) -> Int {
        let set = sets[Int(instruction.set)]
        var end = position
        var lowest = position
        var count: Int32 = 0
        while count < instruction.minimum {
            end = step(set, end)
            if end < 0 { return -1 }
            count += 1
        }
        lowest = end
        if instruction.maximum == .max {
            let known = memory[pc]
            if end < known.end {
                // A remembered run lies ahead or around: walk only to its beginning.
                while end < known.start {
                    let next = step(set, end)
                    if next < 0 { break }
                    end = next
                }
                if end >= known.start {
                    end = known.end
                    memory[pc].start = min(known.start, position)
                } else if end - position >= Self.longRun {
                    memory[pc] = LoopMemory(start: position, end: end)
                }
            } else {
                while true {
                    let next = step(set, end)
                    if next < 0 { break }
                    end = next
                }
                if end - position >= Self.longRun { memory[pc] = LoopMemory(start: position, end: end) }
            }
            if instruction.possessive { return end }
            if end == memory[pc].end, lowest >= memory[pc].start, memory[pc].failing <= end {
                if memory[pc].failing <= lowest { return -1 }
                end = before(memory[pc].failing)
            }
        } else {
            while count < instruction.maximum {
                let next = step(set, end)
                if next < 0 { break }
                end = next
                count += 1
            }
            if instruction.possessive { return end }
        }
        if end > lowest {
            stack[depth] = Choice(instruction: pc, position: end, lowest: lowest)
            depth += 1
        }
        return end
    }

    // MARK: Scalars

    /// Returns the position after the scalar at `position` if the set contains that scalar, else -1.
    @inline(__always)
    private func step(_ set: FlatSet, _ position: Int) -> Int {
        guard position < text.count else { return -1 }
        let byte = text[position]
        if byte < 0x80 { return set.ascii.contains(Int(byte)) ? position + 1 : -1 }
        return stepBeyondASCII(set, position)
    }

    private func stepBeyondASCII(_ set: FlatSet, _ position: Int) -> Int {
        let (value, length) = UTF8Text.scalar(text, at: position)
        let properties =
            value < 0x10000
            ? plane[Int(value)] : Unicode.Scalar(value).map { ScalarTable.computed($0).byte } ?? 0
        var found = set.properties.contains(Int(properties))
        if !found, set.rangeCount > 0 {
            for place in Int(set.firstRange)..<Int(set.firstRange + set.rangeCount) where ranges[place].contains(value)
            {
                found = true
                break
            }
        }
        return found != set.negated ? position + length : -1
    }

    @inline(__always)
    private func after(_ position: Int) -> Int {
        var next = position + 1
        while next < text.count, text[next] & 0xC0 == 0x80 { next += 1 }
        return next
    }

    @inline(__always)
    private func before(_ position: Int) -> Int {
        var previous = position - 1
        while previous > 0, text[previous] & 0xC0 == 0x80 { previous -= 1 }
        return previous
    }
}
