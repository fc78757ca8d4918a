/// A string of a JSON document, or another text that is compared with one: valid UTF-8, compared and hashed byte by
/// byte. It keeps the memory that its bytes are in.
///
/// Swift's `String ==` is canonical equivalence: it takes "é" and "e" + U+0301 for the same key. Two tokens of a
/// vocabulary may differ in just that.
package struct JSONString: Hashable, @unchecked Sendable, ExpressibleByStringLiteral {
    private let start: UnsafePointer<UInt8>?
    package let count: Int
    /// Nil: the bytes are part of the program.
    private let owner: AnyObject?

    /// The bytes of a short text of the library's own.
    private final class Text {
        let bytes: UnsafeMutableBufferPointer<UInt8>

        init(_ text: some Collection<UInt8>) {
            bytes = .allocate(capacity: text.count)
            _ = bytes.initialize(from: text)
        }

        deinit { bytes.deallocate() }
    }

    /// Makes a string of bytes that `owner` keeps. They must be valid UTF-8.
    init(_ bytes: UnsafeBufferPointer<UInt8>, owner: AnyObject) {
        start = bytes.baseAddress
        count = bytes.count
        self.owner = owner
    }

    /// Copies `bytes`, which must be valid UTF-8.
    package init(_ bytes: some Collection<UInt8>) {
        let text = Text(bytes)
        start = UnsafePointer(text.bytes.baseAddress)
        count = text.bytes.count
        owner = text
    }

    package init(_ string: String) { self.init(string.utf8) }

    package init(stringLiteral value: StaticString) {
        // A literal of one character need not be anywhere in memory.
        let text = value.hasPointerRepresentation ? nil : value.withUTF8Buffer { Text($0) }
        start = text.map { UnsafePointer($0.bytes.baseAddress) } ?? value.utf8Start
        count = text?.bytes.count ?? value.utf8CodeUnitCount
        owner = text
    }

    /// Calls `body` with the bytes.
    @inline(__always)
    package func withBytes<Result, Failure: Error>(
        _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { withExtendedLifetime(owner) {} }
        return try body(UnsafeBufferPointer(start: start, count: count))
    }

    /// A copy of the bytes.
    package var bytes: [UInt8] { withBytes { Array($0) } }

    package var isEmpty: Bool { count == 0 }

    package var string: String { withBytes { String(decoding: $0, as: UTF8.self) } }

    package func hasPrefix(_ prefix: JSONString) -> Bool {
        withBytes { own in prefix.withBytes { own.starts(with: $0) } }
    }

    package func hasSuffix(_ suffix: StaticString) -> Bool {
        withBytes { own in
            suffix.withUTF8Buffer { own.count >= $0.count && own.suffix($0.count).elementsEqual($0) }
        }
    }

    /// The string without its first `count` bytes. A character may not be cut.
    package func dropFirst(_ count: Int) -> JSONString {
        guard let owner else { return JSONString(bytes.dropFirst(count)) }
        return withBytes { JSONString(UnsafeBufferPointer(rebasing: $0.dropFirst(count)), owner: owner) }
    }

    package func contains(_ byte: UInt8) -> Bool { withBytes { $0.contains(byte) } }

    /// The order of the bytes.
    package func precedes(_ other: JSONString) -> Bool {
        withBytes { own in other.withBytes { own.lexicographicallyPrecedes($0) } }
    }

    /// The string in quotes, for error messages. It is escaped and cut, because a stranger wrote it and a terminal may
    /// show it.
    package var quoted: String {
        // 81 characters are enough to tell whether there are more than 80.
        let start = withBytes { String(decoding: $0.prefix(4 * 81), as: UTF8.self) }
        var text = "\""
        var rest = start.unicodeScalars.makeIterator()
        for _ in 0..<80 {
            guard let scalar = rest.next() else { return text + "\"" }
            text += scalar.escaped(asASCII: false)
        }
        return rest.next() == nil ? text + "\"" : text + "…\""
    }

    @inline(__always)
    package static func == (left: JSONString, right: JSONString) -> Bool {
        guard left.count == right.count else { return false }
        return left.withBytes { left in right.withBytes { left.equals($0) } }
    }

    package func hash(into hasher: inout Hasher) {
        withBytes { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(0xFF as UInt8)
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// Whether the other bytes are the same, eight at a time.
    @inline(__always)
    package func equals(_ other: UnsafeBufferPointer<UInt8>) -> Bool {
        guard count == other.count else { return false }
        let (own, other) = (UnsafeRawBufferPointer(self), UnsafeRawBufferPointer(other))
        var position = 0
        while position + 8 <= own.count {
            if own.loadUnaligned(fromByteOffset: position, as: UInt64.self)
                != other.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            {
                return false
            }
            position += 8
        }
        while position < own.count {
            if own[position] != other[position] { return false }
            position += 1
        }
        return true
    }
}
