/// Looks into forwards as they run.
package struct Observer {
    /// What a forward spends its time on.
    package enum Part: String, CaseIterable, Sendable {
        case attention, router, experts, shared, dense, head
    }

    /// Told each mixture layer's choices: layer, the rows, routing.
    package var routing: ((Int, [Row], Routing) -> Void)?
    /// Told each layer's output, the sum of two: layer, the rows, [rows, hidden] and [rows, hidden].
    package var output: ((Int, [Row], UnsafePointer<Float>, UnsafePointer<Float>) -> Void)?
    /// Told when a part of a layer is done; what came since the one before belongs to it.
    package var finished: ((Part) -> Void)?

    package init(
        routing: ((Int, [Row], Routing) -> Void)? = nil,
        output: ((Int, [Row], UnsafePointer<Float>, UnsafePointer<Float>) -> Void)? = nil,
        finished: ((Part) -> Void)? = nil
    ) {
        self.routing = routing
        self.output = output
        self.finished = finished
    }
}
