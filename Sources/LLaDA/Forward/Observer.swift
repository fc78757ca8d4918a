/// Looks into forwards as they run.
package struct Observer {
    /// What a forward spends its time on.
    package enum Part: String, CaseIterable, Sendable {
        case attention, router, experts, shared, dense, head
    }

    /// Told each mixture layer's choices: layer, routing.
    package var routing: ((Int, Routing) -> Void)?
    /// Told when a part of a layer is done; what came since the one before belongs to it.
    package var finished: ((Part) -> Void)?

    package init(routing: ((Int, Routing) -> Void)? = nil, finished: ((Part) -> Void)? = nil) {
        self.routing = routing
        self.finished = finished
    }
}
