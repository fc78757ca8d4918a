import Foundation
import LLaDA
import TestSupport
import Testing

@Suite struct JSONTests {
    static func parse(_ text: String) throws -> JSON { try JSON.parse(Array(text.utf8), file: "f.json") }

    // MARK: Refusals

    static let refusals: [(text: String, parts: [String])] = [
        ("", ["line 1, column 1", "the end of the file where a value is expected"]),
        ("  \n ", ["line 2, column 2", "the end of the file"]),
        ("{\"a\":1,\n \"é\" 2}", ["line 2, column 6", "'2' where ':' is expected"]),
        ("{\"a\":1,\"b\":2,\"a\":3}", ["column 14", "duplicate key \"a\""]),
        ("{\"a\":1,\"\\u0061\":3}", ["duplicate key \"a\""]),
        ("{\"a\":1,}", ["'}' where a key in quotes is expected"]),
        ("{a:1}", ["'a' where a key in quotes is expected"]),
        ("{\"a\":1", ["the end of the file where ',' or '}' is expected"]),
        ("{\"a\":1]", ["']' where ',' or '}' is expected"]),
        ("[1,]", ["']' where a value is expected"]),
        ("[1 2]", ["'2' where ',' or ']' is expected"]),
        ("[1", ["the end of the file where ',' or ']' is expected"]),
        ("1 2", ["column 3", "'2' after the end of the document"]),
        ("{}\u{0}", ["byte 0x00 after the end"]),
        ("01", ["a number with a leading zero"]),
        ("-01", ["a number with a leading zero"]),
        ("-", ["the end of the file where a digit is expected"]),
        ("+1", ["'+' where a value is expected"]),
        (".5", ["'.' where a value is expected"]),
        ("1.", ["where a digit is expected"]),
        ("1.e5", ["'e' where a digit is expected"]),
        ("1e", ["where a digit is expected"]),
        ("1e+", ["where a digit is expected"]),
        ("1e400", ["too large for a double"]),
        ("-1e400", ["too large for a double"]),
        ("1" + String(repeating: "0", count: 400), ["too large for a double"]),
        ("NaN", ["NaN or Infinity", "Python"]),
        ("[Infinity]", ["column 2", "NaN or Infinity"]),
        ("-Infinity", ["NaN or Infinity"]),
        ("Nan", ["'N' where a value is expected"]),
        ("tru", ["'t' does not begin true"]),
        ("nul\u{6C}x", ["'x' after the end"]),
        ("\"a", ["the end of the file within a string"]),
        ("\"\\", ["an unknown escape"]),
        ("\"a\nb\"", ["column 3", "control character byte 0x0A"]),
        ("\"\u{0}\"", ["control character byte 0x00"]),
        ("\"\\x41\"", ["an unknown escape"]),
        ("\"\\u12G4\"", ["'G' where a hexadecimal digit is expected"]),
        ("\"\\u12\"", ["'\"' where a hexadecimal digit is expected"]),
        ("\"\\ud800\"", ["column 2", "a lone surrogate"]),
        ("\"\\udc00\"", ["a lone surrogate"]),
        ("\"\\ud800\\u0041\"", ["a lone surrogate"]),
        ("\"\\ud800\\ud800\"", ["a lone surrogate"]),
        ("\u{FEFF}{}", ["byte order mark"]),
        ("'a'", ["''' where a value is expected"]),
        ("/* */ 1", ["'/' where a value is expected"]),
        ("\u{A0}1", ["byte 0xC2 where a value is expected"]),
        (String(repeating: "[", count: 129), ["column 129", "nested deeper than 128 levels"]),
        (String(repeating: "{\"a\":", count: 100_000), ["nested deeper than 128 levels"]),
    ]

    @Test func refuses() {
        for (text, parts) in Self.refusals {
            expectRefusal(.json, ["f.json: line "] + parts, String(text.prefix(80))) { _ = try Self.parse(text) }
        }
    }

    static let invalidUTF8: [[UInt8]] = [
        [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x20], [0xE0, 0x9F, 0xBF], [0xE2, 0x82],
        [0xE2, 0x82, 0x20], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFE], [0xFF],
    ]

    @Test func refusesInvalidUTF8() {
        for bytes in Self.invalidUTF8 {
            for document in [[0x22] + bytes + [0x22], [0x22] + bytes] {
                expectRefusal(.json, ["line 1, column 2", "invalid UTF-8"]) { _ = try JSON.parse(document, file: "f") }
            }
        }
    }

    // MARK: Values

    @Test func keepsOrderAndFindsKeys() throws {
        for count in [0, 1, 7, 8, 9, 10, 1000] {
            let text = "{" + (0..<count).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
            guard case .object(let object) = try Self.parse(text) else { return #expect(Bool(false)) }
            #expect(object.members.map(\.key.string) == (0..<count).map { "k\($0)" })
            for place in 0..<count {
                guard case .integer(place)? = object[JSONString("k\(place)")] else { return #expect(Bool(false)) }
            }
            #expect(object["absent"] == nil)
            let twice = text.dropLast() + (count == 0 ? "}" : ",\"k0\":1}")
            if count > 0 { expectRefusal(.json, ["duplicate key \"k0\""]) { _ = try Self.parse(String(twice)) } }
        }
    }

    @Test func comparesBytesNotCharacters() throws {
        // Composed and decomposed é: one String, two keys.
        guard case .object(let object) = try Self.parse("{\"\u{E9}\":1,\"e\u{301}\":2}") else {
            return #expect(Bool(false))
        }
        #expect(object.members.count == 2)
        guard case .integer(2)? = object["e\u{301}"] else { return #expect(Bool(false)) }
        #expect(JSONString("\u{E9}") != JSONString("e\u{301}"))
        #expect(Set<JSONString>(["\u{E9}", "e\u{301}"]).count == 2)
    }

    @Test func edgesOfIntegers() throws {
        for (text, expected) in [("9223372036854775807", Int.max), ("-9223372036854775808", .min), ("-0", 0)] {
            guard case .integer(expected) = try Self.parse(text) else { return #expect(Bool(false), "\(text)") }
        }
        for text in ["9223372036854775808", "-9223372036854775809", "1e2", "1.0"] {
            guard case .double(let value) = try Self.parse(text) else { return #expect(Bool(false), "\(text)") }
            #expect(value == Double(text))
        }
    }

    /// A host may call from a thread with far less than the usual 8 MB.
    @Test func theDeepestDocumentFitsASmallStack() {
        let text = Array((String(repeating: "{\"a\":[", count: 64) + String(repeating: "]}", count: 64)).utf8)
        let done = DispatchSemaphore(value: 0)
        let thread = Thread {
            #expect(throws: Never.self) { _ = try JSON.parse(text, file: "f") }
            #expect(throws: Never.self) { _ = try JSON.parse(text, file: "f", rules: .python).pythonText }
            done.signal()
        }
        thread.stackSize = 128 << 10
        thread.start()
        done.wait()
    }

    @Test func messagesDoNotRepeatHostileText() {
        #expect(JSONString("a\u{1B}[2J\n\"\u{E9}").quoted == "\"a\\u{1B}[2J\\n\\\"\u{E9}\"")
        #expect(JSONString(String(repeating: "x", count: 5000)).quoted.utf8.count < 100)
    }

    /// The parser of a host program must not change with its locale.
    @Test func ignoresTheLocale() throws {
        let old = setlocale(LC_NUMERIC, nil).map { String(cString: $0) }
        defer { setlocale(LC_NUMERIC, old ?? "C") }
        for locale in ["de_DE.UTF-8", "fr_FR.UTF-8"] {
            setlocale(LC_NUMERIC, locale)
            guard case .double(0.5) = try Self.parse("0.5") else { return #expect(Bool(false)) }
        }
    }

    @Test func parsesTwentyMegabytesQuickly() throws {
        var text = "{\"vocab\":{"
        text += (0..<150_000).map { "\"Ġtoken\($0)\":\($0)" }.joined(separator: ",") + "},\"merges\":["
        text += (0..<300_000).map { "[\"Ġtok \($0)\",\"en and some length\"]" }.joined(separator: ",\n      ") + "]}"
        let bytes = Array(text.utf8)
        var parsed: JSON?
        let time = try ContinuousClock().measure { parsed = try JSON.parse(bytes, file: "big") }
        guard case .object(let object)? = parsed, case .object(let vocab)? = object["vocab"] else {
            return #expect(Bool(false))
        }
        #expect(vocab.members.count == 150_000)
        print("JSON: \(bytes.count) bytes in \(time)")
        // Generous, since the machine is shared; a quadratic step would take minutes.
        #expect(time < .seconds(5))
    }

    // MARK: Python's rules

    /// Documents, and what CPython 3.11 makes of them: `json.dumps(json.loads(text), ensure_ascii=False)`.
    static let python: [(text: String, expected: String)] = [
        (#"{"a":1, "b" : [ ], "a":{"c":null}}"#, #"{"a": {"c": null}, "b": []}"#),
        (
            #"{"a":{"b":1,"b":2},"\u0061" : {"b":3,"c":4,"b":5},"c":[{"a":1,"a":2}]}"#,
            #"{"a": {"b": 5, "c": 4}, "c": [{"a": 2}]}"#
        ),
        (#"["\u00e9\ud83d\ude00\u0000\u001f\u007f\/"]"#, "[\"é😀\\u0000\\u001f\u{7F}/\"]"),
        ("[\"\\b\\f\\n\\r\\t\\\\\"]", "[\"\\b\\f\\n\\r\\t\\\\\"]"),
        ("[-0, -0.0, 0e5, 1E5, 1.50, 100000000000000000000]", "[0, -0.0, 0.0, 100000.0, 1.5, 100000000000000000000]"),
        (
            "[1e15, 1e16, 123456789012345680.0, 1e-4, 1e-5, 12e-6]",
            "[1000000000000000.0, 1e+16, 1.2345678901234568e+17, 0.0001, 1e-05, 1.2e-05]"
        ),
        (
            "[5e-324, 1.7976931348623157e308, 0.1, 2.5e100, 9007199254740993]",
            "[5e-324, 1.7976931348623157e+308, 0.1, 2.5e+100, 9007199254740993]"
        ),
        ("[NaN, Infinity, -Infinity, 1e999, -1e999]", "[NaN, Infinity, -Infinity, Infinity, -Infinity]"),
        ("[true,false,null]", "[true, false, null]"),
    ]

    @Test(arguments: python)
    func asPythonWritesIt(text: String, expected: String) throws {
        let value = try JSON.parse(Array(text.utf8), file: "f.json", rules: .python)
        #expect(String(decoding: value.pythonText, as: UTF8.self) == expected)
    }

    /// What Python refuses is refused, and what is text to it but not to UTF-8.
    @Test(arguments: ["", "[1", "{1:2}", "[01]", "[1.]", "nul", "NaNs", "-Inf", #"["\ud800"]"#, "[\"\n\"]", "[1] 2"])
    func pythonRefuses(text: String) {
        #expect(throws: LLaDAError.self) { try JSON.parse(Array(text.utf8), file: "f.json", rules: .python) }
    }
}
