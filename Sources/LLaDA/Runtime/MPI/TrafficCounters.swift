import Synchronization

/// The messages of a rank, and their bytes. Any thread may read them.
final class TrafficCounters: Sendable {
    let bytesSent = Atomic<Int>(0)
    let bytesReceived = Atomic<Int>(0)
    let messagesSent = Atomic<Int>(0)
    let messagesReceived = Atomic<Int>(0)

    func sent(_ bytes: Int) {
        bytesSent.add(bytes, ordering: .relaxed)
        messagesSent.add(1, ordering: .relaxed)
    }

    func received(_ bytes: Int) {
        bytesReceived.add(bytes, ordering: .relaxed)
        messagesReceived.add(1, ordering: .relaxed)
    }
}
