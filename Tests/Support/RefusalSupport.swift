import LLaDA
import Testing

/// Asserts that `body` is refused with this status and a message that holds every one of these parts.
package func expectRefusal(
    _ status: Status, _ parts: [String], _ name: String = "", sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("\(name): accepted; expected \(status) \(parts)", sourceLocation: sourceLocation)
    } catch let error as LLaDAError {
        #expect(error.status == status, "\(name): \(error)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(error.message.contains(part), "\(name): \(error) lacks \(part)", sourceLocation: sourceLocation)
        }
    } catch {
        Issue.record("\(name): \(error)", sourceLocation: sourceLocation)
    }
}
