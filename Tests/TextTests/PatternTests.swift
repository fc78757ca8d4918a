import LLaDA
import Testing

@Suite struct PatternTests {
    static let ling =
        #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"#

    static func pieces(_ pattern: String, _ text: String) throws -> [String] {
        let pattern = try PreTokenizerPattern(pattern, file: "tokenizer.json", key: "Regex")
        var pieces: [String] = []
        Array(text.utf8).withUnsafeBufferPointer { text in
            PatternMatcher.forEachPiece(of: text, pattern, ScalarTable()) { range in
                pieces.append(String(decoding: text[range], as: UTF8.self))
            }
        }
        return pieces
    }

    @Test func splits() throws {
        #expect(
            try Self.pieces(Self.ling, "It's 42 naïve  cafés!\n\n ok") == [
                "It", "'s", " ", "4", "2", " naïve", " ", " cafés", "!\n\n", " ok",
            ])
        #expect(try Self.pieces(Self.ling, "a \r\n\n  b") == ["a", " \r\n\n", " ", " b"])
        #expect(try Self.pieces(Self.ling, "'Ll'ſ'K") == ["'Ll", "'ſ", "'K"])
        // What no alternative matches is a piece as well.
        #expect(try Self.pieces("b+", "aabbca") == ["aa", "bb", "ca"])
        #expect(try Self.pieces("x", "") == [])
    }

    @Test(arguments: [
        ("a?b", "aabb", ["a", "ab", "b"]),
        ("(?:ab){1,2}", "abababc", ["abab", "ab", "c"]),
        ("(?:ab|a)b", "abbab", ["abb", "ab"]),  // gives "ab" back and takes "a"
        ("a++a|a", "aaa", ["a", "a", "a"]),  // possessive: gives nothing back
        ("a+a", "aaab", ["aaa", "b"]),
        ("a{2}", "aaaaa", ["aa", "aa", "a"]),
        ("a{2,}", "aaaaab", ["aaaaa", "b"]),
        ("[^a-c]+", "xyabcz", ["xy", "abc", "z"]),
        (#"[\-\]^]+"#, "a-]^b", ["a", "-]^", "b"]),
        (#"[a-]+"#, "b-a", ["b", "-a"]),
        (#"\d+(?=\s)|\D+"#, "12 34", ["12", " ", "34"]),
        (#"\P{L}+|\p{Lu}\p{Ll}*"#, "12AbcD", ["12", "Abc", "D"]),
        (#"(?i:k)+"#, "kK\u{212A}x", ["kK\u{212A}", "x"]),
        (#"(?:\p{L}|\p{M})+"#, "e\u{301} f", ["e\u{301}", " ", "f"]),
        // As of Unicode 16: U+0295 is lowercase, and U+A7CE, a letter of Unicode 17, is nothing yet.
        (#"\p{Ll}+|\p{L}+"#, "\u{295}a1\u{A7CE}b", ["\u{295}a", "1\u{A7CE}", "b"]),
        (#"\w+"#, "a_1² ½-Ⅷ", ["a_1²", " ", "½", "-", "Ⅷ"]),
    ])
    func constructs(pattern: String, text: String, expected: [String]) throws {
        #expect(try Self.pieces(pattern, text) == expected)
    }

    @Test(arguments: [
        ("(a)", "the group (a)"), ("a*?", "the quantifier *?"), ("a{1,3}+", "the quantifier {1,3}+"),
        ("(?<=a)b", "the group (?<="),
        ("a.b", ". at this place"), ("^a", "^ at this place"), ("a$", "$ at this place"),
        (#"\bfoo"#, #"the escape \b"#),
        (#"\p{Han}"#, #"\p{Han}"#), (#"\p{L"#, #"\p"#), ("[a[b]]", "[ inside a set"), ("[a&&b]", "& inside a set"),
        (#"[\d-x]"#, "a range that begins with a set"), ("[b-a]", "a range that ends"), ("[", "an unclosed ["),
        ("[]a]", "a ] at the beginning"), ("(?:a", "an unclosed group"), ("a)", "an unmatched )"),
        ("*a", "* at this place"),
        ("a|", "matches the empty string"), (" ?", "matches the empty string"),
        ("(?:ab)+", "the quantifier + on a group"),
        ("(?!ab)c", "a lookahead that is not for a single character"), ("(?i:ss)", "a case-insensitive ss"),
        ("(?i:é)", "a case-insensitive set beyond ASCII"), ("a{1,99999}", "the quantifier {1,99999}"),
        (#"a\"#, #"a trailing \"#),
        ("(?=a)+b", "a repeated lookahead"), (#"(a)\1"#, "the group (a)"), (#"\1"#, #"the escape \1"#),
        ("a{,3}", "the quantifier {,3}"),
        ("(?>a)", "the group (?>a"), ("(?P<n>a)", "the group (?P<"),
    ])
    func refusals(pattern: String, construct: String) {
        let error = #expect(throws: LLaDAError.self) { try Self.pieces(pattern, "a") }
        #expect(error?.status == .unsupported)
        #expect(error?.message.contains(construct) == true, "\(error?.message ?? "")")
        #expect(error?.message.hasPrefix("tokenizer.json: Regex is the pattern ") == true, "\(error?.message ?? "")")
    }

    @Test func deepNestingIsRefusedNotRecursed() {
        let pattern = String(repeating: "(?:", count: 100_000) + "a" + String(repeating: ")", count: 100_000)
        #expect(throws: LLaDAError.self) { try Self.pieces(pattern, "a") }
    }

    @Test func longPatternsAreRefused() {
        #expect(throws: LLaDAError.self) { try Self.pieces("(?:" + String(repeating: "ab|", count: 5000) + "c)", "a") }
        #expect(throws: LLaDAError.self) { try Self.pieces("(?:(?:(?:ab){1000}){1000}){1000}", "a") }
        #expect(throws: LLaDAError.self) { try Self.pieces(String(repeating: "a|", count: 64) + "b", "a") }
    }

    /// Quadratic matching would take minutes.
    @Test(
        .timeLimit(.minutes(1)),
        arguments: [
            (ling, " "), (ling, "a"), (ling, "\n"), (ling, " \n"), (ling, "!"), (ling, "'"), (ling, "\u{3000}"),
            (ling, "é"),
            (#"\s*[\r\n]+|\s+(?!\S)|\s+"#, " "), ("a+b|a", "a"), ("a+a+a+b|a", "a"), (#"\s*\s*[\r\n]x|\s"#, " "),
            ("a*a*a*b|a", "a"),
            ("[ab]+[ab]+c|[ab]", "ab"), ("zz", "a"),
        ])
    func longRunsAreLinear(pattern: String, unit: String) throws {
        let count = try Self.pieces(pattern, String(repeating: unit, count: 1 << 16) + "x").count
        #expect(count > 0)
    }
}
