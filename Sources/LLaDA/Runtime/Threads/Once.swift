/// A value that is made when it is first asked for, by whoever asks.
package final class Once<Value: Sendable>: Sendable {
    private let value = Locked<Value?>(nil)

    package init() {}

    package func get(_ make: () -> Value) -> Value {
        value.withLock { value in
            let known = value ?? make()
            value = known
            return known
        }
    }
}
