import LLaDA
import TestSupport
import Testing

@Suite struct CancellationTests {
    @Test func aRequestEndsOneThing() throws {
        let cancellation = Cancellation()
        try cancellation.check()
        cancellation.cancel()
        cancellation.cancel()
        #expect(cancellation.isRequested)
        expectRefusal(.cancelled, ["cancelled by the host"]) { try cancellation.check() }
        #expect(!cancellation.isRequested)
        try cancellation.check()
    }

    /// Work that several share ends for all of them, and all requests have been heard.
    @Test func requestsOfAllAreHeard() throws {
        let all = (0..<4).map { _ in Cancellation() }
        all[1].cancel()
        all[3].cancel()
        expectRefusal(.cancelled, []) { try Cancellation.check(all) }
        try Cancellation.check(all)
    }
}
