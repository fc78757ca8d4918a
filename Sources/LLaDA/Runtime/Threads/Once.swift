/// A value that the first caller of `get` makes.
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
