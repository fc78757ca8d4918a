/// Callbacks that look into forwards as they run.
package struct Observer {
    /// The parts of a forward that take time.
    package enum Part: String, CaseIterable, Sendable {
        case attention, router, experts, shared, dense, head
    }

    /// Receives the choices of each mixture layer: layer, rows, routing.
    package var routing: ((Int, [Row], Routing) -> Void)?
    /// Receives the output of each layer, as a sum of two arrays: layer, rows, [rows, hidden] and [rows, hidden].
    package var output: ((Int, [Row], UnsafePointer<Float>, UnsafePointer<Float>) -> Void)?
    /// Receives each finished part of a layer. The time since the part before belongs to it.
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
