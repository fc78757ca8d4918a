import Foundation
import LLaDA
import TestSupport
import Testing

/// Python's `json`, made strict, as independent judge: both must refuse, or both must read the very same values.
@Suite struct JSONJudgeTests {
    static let judge = #"""
        import json, math, struct, sys

        def pairs(members):
            if len({k for k, _ in members}) != len(members): raise ValueError("duplicate")
            return members and Members(members) or Members()

        class Members(list): pass
        def constant(name): raise ValueError(name)
        def text(s): return s.encode("utf-8").hex()

        def dump(v):
            if v is None: return "n"
            if v is True: return "t"
            if v is False: return "f"
            if isinstance(v, int) and -2**63 <= v < 2**63: return "i%d" % v
            if isinstance(v, (int, float)):
                d = float(v)
                if math.isinf(d): raise ValueError("inf")
                return "d" + struct.pack(">d", d).hex()
            if isinstance(v, str): return "s" + text(v)
            if isinstance(v, Members): return "{" + ",".join(text(k) + ":" + dump(x) for k, x in v) + "}"
            return "[" + ",".join(dump(x) for x in v) + "]"

        for line in sys.stdin:
            try:
                document = bytes.fromhex(line).decode("utf-8")
                print(dump(json.loads(document, parse_constant=constant, object_pairs_hook=pairs)))
            except (ValueError, OverflowError):
                print("refused")
        """#

    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { String(UInt16($0) + 0x100, radix: 16).dropFirst() }.joined()
    }

    static func dump(_ value: JSON) -> String {
        switch value {
        case .null: "n"
        case .bool(let value): value ? "t" : "f"
        case .integer(let value): "i\(value)"
        case .largeInteger(let digits): "i\(digits.string)"
        case .double(let value): "d" + hex(withUnsafeBytes(of: value.bitPattern.bigEndian) { Array($0) })
        case .string(let value): "s" + hex(value.bytes)
        case .array(let values): "[" + values.map(dump).joined(separator: ",") + "]"
        case .object(let object):
            "{" + object.members.map { hex($0.key.bytes) + ":" + dump($0.value) }.joined(separator: ",") + "}"
        }
    }

    static let documents: [String] = [
        "null", " true ", "false", "0", "-0", "-0.0", "12", "-9223372036854775808", "9223372036854775808", "1e-400",
        "0.1", "1.7976931348623157e308", "1.7976931348623159e308", "4.9e-324", "2.2250738585072011e-308", "1E5", "1e+5",
        "123456789012345678901234567890", "0.1000000000000000055511151231257827021181583404541015625", "1e23",
        "\"\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\\u0000\"", "\"é€😀\u{7F}\u{2028}\"",
        "[]", "[[],[[]],{}]", "[1,2.5,\"x\",null,true]", "{}", "{\"\":0,\"a\":{\"a\":[]},\"b\":-1.5e-3}",
        "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"\u{E9}\":10,\"e\u{301}\":11}",
        "\t\r\n[ 1 ,\n2 ] \n", String(repeating: "[", count: 128) + String(repeating: "]", count: 128),
    ]

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/python3"))) func agreesWithPython() throws
    {
        var generator = SeededGenerator(state: 1)
        var inputs = Self.documents.map { Array($0.utf8) }
        for document in inputs {
            for _ in 0..<200 { inputs.append(mutated(document, using: &generator)) }
        }
        // Mutants of mutants of one document that has everything: deeper injuries.
        for _ in 0..<4000 {
            inputs.append(mutated(Array(Self.documents.joined(separator: ",").utf8), span: 400, using: &generator))
        }

        let folder = try TemporaryFolder()
        let script = try folder.write("judge.py", Self.judge)
        let questions = try folder.write("in", inputs.map(Self.hex).joined(separator: "\n") + "\n")
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        process.arguments = [script]
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: questions))
        process.standardOutput = output
        try process.run()
        let answers = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            .split(separator: "\n").map(String.init)
        process.waitUntilExit()

        #expect(answers.count == inputs.count)
        var accepted = 0
        for (input, answer) in zip(inputs, answers) {
            let ours = (try? JSON.parse(input, file: "f")).map(Self.dump) ?? "refused"
            if ours != "refused" { accepted += 1 }
            #expect(ours == answer, "\(String(decoding: input, as: UTF8.self))")
        }
        // The comparison is worth nothing if one side never happens.
        #expect(accepted > 500 && accepted < inputs.count - 500)
    }
}
