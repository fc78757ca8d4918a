import LLaDA
import TestSupport
import Testing

@Suite struct ForwardConformanceTests {
    @Test(arguments: Fixture.names) func logitsAreTheReferences(_ name: String) throws {
        let fixture = try Fixture(name)
        try Self.compare(try Model(path: fixture.folder), fixture, name)
    }

    static func compare(_ model: Model, _ fixture: Fixture, _ name: String) throws {
        let cases = fixture.names.filter { $0.hasSuffix(".ids") }
        #expect(cases.count >= 2)
        for ids in cases {
            let prefix = String(ids.dropLast(4))
            // "B8.ids" names the block length; "T24.ids" only the length, with blocks of the routing block's size.
            let block = prefix.hasPrefix("B") ? Int(prefix.dropFirst())! : model.config.blockSize
            let ours = try logits(model, try fixture.values(ids), blockLength: block)
            let theirs: [Float] = try fixture.values("\(prefix).logits")
            #expect(ours.count == theirs.count)
            let worst = zip(ours, theirs).map { abs($0 - $1) }.max() ?? .infinity
            #expect(worst < 2e-4, "\(name) \(prefix): \(worst)")
        }
    }
}
