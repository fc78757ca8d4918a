/// Unicode normalization form C.
///
/// The standard library's implementation is not exact (it does not reorder U+0F73, which decomposes into marks) and
/// takes time quadratic in a run of combining marks. This one is linear. It follows **Unicode 9**, as Hugging Face
/// `tokenizers` does: a scalar assigned later does not move or compose, and no mark moves across it.
package struct NFC: Sendable {
    /// One bit for each scalar of the Basic Multilingual Plane: the scalar never changes, and nothing moves or composes
    /// across it.
    private let inert: [UInt64]
    private let decompositions: [UInt32: (UInt32, UInt32)]
    /// The composite of each pair, by first << 21 | second.
    private let compositions: [UInt64: UInt32]
    /// The second scalars of all compositions; few are beyond the Basic Multilingual Plane.
    private let seconds: Set<UInt32>

    private enum Hangul {
        static let syllables: UInt32 = 0xAC00, leading: UInt32 = 0x1100, vowel: UInt32 = 0x1161,
            trailing: UInt32 = 0x11A7
        static let vowels: UInt32 = 21, trailings: UInt32 = 28, count: UInt32 = 11172
    }

    package init() {
        let mask: UInt64 = 0x1F_FFFF
        var decompositions: [UInt32: (UInt32, UInt32)] = [:]
        var compositions: [UInt64: UInt32] = [:]
        var seconds: Set<UInt32> = []
        var changing: Set<UInt32> = []
        for word in NormalizationData.pairs {
            let composed = UInt32(word >> 43)
            let (first, second) = (UInt32(word >> 22 & mask), UInt32(word >> 1 & mask))
            decompositions[composed] = (first, second)
            if word & 1 != 0 {
                compositions[UInt64(first) << 21 | UInt64(second)] = composed
                seconds.insert(second)
            } else {
                changing.insert(composed)
            }
        }
        self.decompositions = decompositions
        self.compositions = compositions
        self.seconds = seconds
        var inert = [UInt64](repeating: .max, count: 0x10000 / 64)
        for value in UInt32(0x300)..<0x10000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let quick =
                !changing.contains(value) && !seconds.contains(value)
                && !(value >= Hangul.vowel && value < Hangul.trailing + Hangul.trailings)
                && Self.combiningClass(scalar) == 0 && Self.singleton(scalar) == nil
            if !quick { inert[Int(value / 64)] &= ~(1 << UInt64(value % 64)) }
        }
        self.inert = inert
    }

    /// Returns the normalized text; nil if `text` is normalized already. `text` must be valid UTF-8. Throws
    /// `.outOfMemory`.
    package func normalized(_ text: UnsafeBufferPointer<UInt8>) throws(LLaDAError) -> [UInt8]? {
        var result: [UInt8] = []
        var copied = 0  // all before this is in `result`
        var starter = 0  // the last inert scalar
        var position = 0
        var changed = false
        while position < text.count {
            if text[position] < 0xCC {  // below U+0300
                starter = position
                position += text[position] < 0x80 ? 1 : 2
                continue
            }
            let (value, length) = UTF8Text.scalar(text, at: position)
            if isInert(value) {
                starter = position
                position += length
                continue
            }
            var end = position + length
            while end < text.count {
                let (value, length) = UTF8Text.scalar(text, at: end)
                if isInert(value) { break }
                end += length
            }
            if !changed {
                try result.makeRoom(for: text.count + text.count / 8)
                changed = true
            }
            // A scalar becomes at most three times as many bytes. Beside them stand scalars, in arrays that double.
            try result.makeRoom(for: starter - copied + 4 * (end - starter))
            result += text[copied..<starter]
            try Reserve.withRoom(64 * (end - starter)) { () throws(LLaDAError) in
                normalize(UnsafeBufferPointer(rebasing: text[starter..<end]), into: &result)
            }
            copied = end
            starter = end
            position = end
        }
        guard changed else { return nil }
        try result.makeRoom(for: text.count - copied)
        result += text[copied...]
        return result
    }

    @inline(__always)
    private func isInert(_ value: UInt32) -> Bool {
        if value < 0x10000 {
            return inert.withUnsafeBufferPointer { $0[Int(value / 64)] >> UInt64(value % 64) & 1 != 0 }
        }
        guard let scalar = Unicode.Scalar(value) else { return true }
        return Self.combiningClass(scalar) == 0 && decompositions[value] == nil && !seconds.contains(value)
            && Self.singleton(scalar) == nil
    }

    // MARK: One segment

    private func normalize(_ text: UnsafeBufferPointer<UInt8>, into result: inout [UInt8]) {
        // Each scalar has its combining class in the upper 8 bits.
        var scalars: [UInt32] = []
        var position = 0
        while position < text.count {
            let (value, length) = UTF8Text.scalar(text, at: position)
            decompose(value, into: &scalars)
            position += length
        }
        order(&scalars)
        for scalar in composed(scalars) { UTF8Text.append(scalar, to: &result) }
    }

    private func decompose(_ value: UInt32, into scalars: inout [UInt32]) {
        let syllable = value &- Hangul.syllables
        if syllable < Hangul.count {
            let trailing = syllable % Hangul.trailings
            scalars.append(Hangul.leading + syllable / (Hangul.vowels * Hangul.trailings))
            scalars.append(Hangul.vowel + syllable / Hangul.trailings % Hangul.vowels)
            if trailing != 0 { scalars.append(Hangul.trailing + trailing) }
            return
        }
        guard let scalar = Unicode.Scalar(value) else { return }
        if value >= 0xC0, let (first, second) = decompositions[value] {
            decompose(first, into: &scalars)  // the recursion is at most four deep
            decompose(second, into: &scalars)
        } else if value >= 0x300, let other = Self.singleton(scalar) {
            decompose(other, into: &scalars)
        } else {
            scalars.append(value | UInt32(Self.combiningClass(scalar)) << 24)
        }
    }

    /// Sorts each run of marks by combining class. The sort is stable.
    private func order(_ scalars: inout [UInt32]) {
        var start = 0
        while start < scalars.count {
            guard scalars[start] >> 24 != 0 else {
                start += 1
                continue
            }
            var end = start + 1
            var sorted = true
            while end < scalars.count, scalars[end] >> 24 != 0 {
                sorted = sorted && scalars[end - 1] >> 24 <= scalars[end] >> 24
                end += 1
            }
            if !sorted {
                // A counting sort, because a run may be as long as the text.
                var places = [Int](repeating: 0, count: 257)
                for scalar in scalars[start..<end] { places[Int(scalar >> 24) + 1] += 1 }
                for combining in 1..<257 { places[combining] += places[combining - 1] }
                let run = Array(scalars[start..<end])
                for scalar in run {
                    scalars[start + places[Int(scalar >> 24)]] = scalar
                    places[Int(scalar >> 24)] += 1
                }
            }
            start = end
        }
    }

    private func composed(_ scalars: [UInt32]) -> [UInt32] {
        var result: [UInt32] = []
        result.reserveCapacity(scalars.count)
        var starter: Int?  // its index in `result`
        var lastClass: UInt32 = 0  // of the last scalar kept after the starter; 0 right after it
        for scalar in scalars {
            let (value, combining) = (scalar & 0x1F_FFFF, scalar >> 24)
            if let place = starter, lastClass < combining || (lastClass == 0 && place == result.count - 1),
                let composite = compose(result[place], value)
            {
                result[place] = composite
                continue
            }
            if combining == 0 { starter = result.count }
            lastClass = combining
            result.append(value)
        }
        return result
    }

    private func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
        let (leading, vowel) = (first &- Hangul.leading, second &- Hangul.vowel)
        if leading < 19, vowel < Hangul.vowels {
            return Hangul.syllables + (leading * Hangul.vowels + vowel) * Hangul.trailings
        }
        let (syllable, trailing) = (first &- Hangul.syllables, second &- Hangul.trailing)
        if syllable < Hangul.count, syllable % Hangul.trailings == 0, trailing > 0, trailing < Hangul.trailings {
            return first + trailing
        }
        return compositions[UInt64(first) << 21 | UInt64(second)]
    }

    // MARK: What the standard library knows

    private static func combiningClass(_ scalar: Unicode.Scalar) -> UInt8 {
        guard scalar.value >= 0x300 else { return 0 }
        let combining = scalar.properties.canonicalCombiningClass.rawValue
        guard combining != 0, let age = scalar.properties.age, age.major <= 9 else { return 0 }
        return combining
    }

    /// Returns the one scalar that `scalar` always becomes; nil if there is none. There is one only for the
    /// compatibility ideographs and two dozen signs.
    private static func singleton(_ scalar: Unicode.Scalar) -> UInt32? {
        switch scalar.value {
        case 0x340...0x387, 0x1F71...0x1FFD, 0x2000...0x232A, 0xF900...0xFAFF, 0x2F800...0x2FA1F: break
        default: return nil
        }
        var value: UInt32 = 0
        var count = 0
        String(scalar)._withNFCCodeUnits { unit in
            value = count == 0 ? Self.lead(unit) : value << 6 | UInt32(unit & 0x3F)
            count += 1
        }
        let isOne = count == (value < 0x80 ? 1 : value < 0x800 ? 2 : value < 0x10000 ? 3 : 4)
        return isOne && value != scalar.value ? value : nil
    }

    private static func lead(_ unit: UInt8) -> UInt32 {
        UInt32(unit < 0x80 ? unit : unit < 0xE0 ? unit & 0x1F : unit < 0xF0 ? unit & 0x0F : unit & 0x07)
    }
}
